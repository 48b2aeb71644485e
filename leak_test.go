package reloads_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Whatever the tests do to it, the client leaves nothing behind: no goroutine and no descriptor.
func TestMain(m *testing.M) {
	// The runtime's own descriptors come with the first socket.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
	}
	before := descriptors()
	status := m.Run()
	if left := leftBehind(before); left != "" && status == 0 {
		fmt.Println("FAIL: left behind:", left)
		status = 1
	}
	os.Exit(status)
}

// leftBehind is what still runs or is open, some seconds after the tests have ended; "" if nothing is.
func leftBehind(descriptorsBefore int) (left string) {
	for range 100 {
		http.DefaultClient.CloseIdleConnections()
		left = ""
		if n := descriptors(); n > descriptorsBefore {
			left = fmt.Sprintf("%d descriptors", n-descriptorsBefore)
		}
		for _, stack := range stacks() {
			if strings.Contains(stack, "reloads-go/reloads") || strings.Contains(stack, "net/http.") {
				left += "\n" + stack
			}
		}
		if left == "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return left
}

// stacks are those of all goroutines but this one.
func stacks() []string {
	buf := make([]byte, 4<<20)
	return strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:]
}

// descriptors is how many files and sockets the process has open; 0 where the system does not tell.
func descriptors() int {
	entries, _ := os.ReadDir("/dev/fd")
	return len(entries)
}
