package redislimit_test

import (
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// farAway returns the address of a proxy that delays all data by half of the round trip.
func farAway(t *testing.T, server string, roundTrip time.Duration) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			redis, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go delay(redis, client, roundTrip/2)
			go delay(client, redis, roundTrip/2)
		}
	}()
	return listener.Addr().String()
}

// delay copies data, each piece after d.
func delay(to, from net.Conn, d time.Duration) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 1000)
	go func() {
		defer close(pieces)
		for {
			data := make([]byte, 64<<10)
			n, err := from.Read(data)
			if err != nil {
				return
			}
			pieces <- piece{data[:n], time.Now().Add(d)}
		}
	}()
	defer to.Close()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			_ = from.Close()
		}
	}
}

// connectFarAway is connect with a round trip of the given duration.
func connectFarAway(t *testing.T, addr string, roundTrip time.Duration) (*redis.Client, *roundTrips) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: farAway(t, addr, roundTrip), ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	var n roundTrips
	client.AddHook(&n)
	return client, &n
}
