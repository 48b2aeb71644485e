// Package faulttest contains only tests. They test package reloads with network failures, over real sockets.
//
// The client connects to the fake tenant through proxies of github.com/Shopify/toxiproxy, which reset, cut, delay or
// drop the traffic. The proxies run in a separate process, so that the goroutines, file descriptors and memory of the
// test process belong to the client and the fake tenant only. The package is a module of its own, so that programs that
// import reloads do not depend on toxiproxy.
//
// TestSoak runs for 5 s by default. The flag -soak sets another duration:
//
//	go test -run Soak -soak 10m -timeout 15m -v .
//
// TestCrash kills client processes with SIGKILL, 330 times in about two minutes, and checks the guarantees of
// reloads.Once. With -short there are 60 kills. It uses a model of the service that shares no code with package
// reloadstest:
//
//	go test -run Crash -v .
package faulttest
