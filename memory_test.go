package reloads_test

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/reloads-go/reloads"
)

// skipUnderRace skips a test that counts memory: the race detector multiplies it, and the time that the test takes.
func skipUnderRace(t *testing.T) {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector multiplies the memory that this test counts")
	}
}

// heapInUse is what is left after a collection.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// endlessBook serves so many pages of the same records, and calls at for each.
func endlessBook(pages int, records string, at func()) *script {
	n := 0
	return plays(func(r *http.Request) (*http.Response, error) {
		n++
		at()
		links := fmt.Sprintf(`{"next":{"href":"?next=%064d&limit=100"}}`, n)
		if n == pages {
			links = `{}`
		}
		return answer(200, `{"data":[`+records+`],"links":`+links+`}`)(r)
	})
}

func TestAMillionRecordsNeedNoMemory(t *testing.T) {
	skipUnderRace(t)
	records := make([]string, 100)
	for i := range records {
		records[i] = benchRecord(i)
	}
	const pages = 10_000
	var start, peak int64
	requests := 0
	wire := endlessBook(pages, strings.Join(records, ","), func() {
		if requests++; requests%500 == 0 {
			peak = max(peak, heapInUse())
		}
	})
	client := scriptedClient(t, forgetful{wire}, reloads.WithLimiters(unlimited))
	start = heapInUse()
	n := 0
	for r, err := range client.All(t.Context(), reloads.ListOptions{Limit: 100}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%50_050 == 0 { // in the middle of a page
			peak = max(peak, heapInUse())
			runtime.KeepAlive(r)
		}
	}
	if n != 100*pages {
		t.Errorf("%d records", n)
	}
	t.Logf("%d records: at most %d KiB above the start", n, (peak-start)>>10)
	if peak-start > 8<<20 {
		t.Errorf("the heap grew by %d KiB, want at most 8 MiB", (peak-start)>>10)
	}
}

func TestLongLogsNeedAPage(t *testing.T) {
	skipUnderRace(t)
	const record = 1 << 20
	log := strings.Repeat("x", record)
	records := make([]string, 10)
	for i := range records {
		records[i] = fmt.Sprintf(`{"id":"r%d","log":"%d%s"}`, i, i, log)
	}
	page := strings.Join(records, ",")
	var start, peak int64
	client := scriptedClient(t, forgetful{endlessBook(20, page, func() { peak = max(peak, heapInUse()-start) })}, reloads.WithLimiters(unlimited))
	start = heapInUse()
	n := 0
	for r, err := range client.All(t.Context(), reloads.ListOptions{Log: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%10 == 5 {
			peak = max(peak, heapInUse()-start)
		}
		if len(r.Log) != record+1 {
			t.Fatalf("a log of %d bytes", len(r.Log))
		}
	}
	t.Logf("pages of %d MiB: at most %d KiB above the start", len(page)>>20, peak>>10)
	if n != 200 || peak > int64(len(page))+1<<20 {
		t.Errorf("%d records; the heap grew by %d KiB for pages of %d KiB", n, peak>>10, len(page)>>10)
	}
}

// forgetful keeps no request.
type forgetful struct{ *script }

func (f forgetful) RoundTrip(r *http.Request) (*http.Response, error) { return f.outcomes[0](r) }
