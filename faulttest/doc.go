// Package faulttest has only tests: of package reloads behind a network that fails, over real sockets.
//
// Between the client and the fake tenant stand the proxies of github.com/Shopify/toxiproxy, which reset, cut, delay and
// swallow what passes. They run in a process of their own, so that goroutines, descriptors and memory of the tests'
// process are those of the client and of the fake tenant alone. It is a module of its own, so that nobody who imports
// reloads gets the proxy along.
//
// TestSoak runs for 5 s, or as long as -soak says:
//
//	go test -run Soak -soak 10m -timeout 15m -v .
package faulttest
