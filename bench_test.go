package reloads_test

import (
	"context"
	stdjson "encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/reloads-go/reloads"
)

// The benchmarks compare the client with a floor: the code that a user would write with net/http and encoding/json.
// Run them with
//
//	go test -run '^$' -bench . -count 10
//
// and compare the ns/op of client and floor.

// floorReload is the struct that a user would write.
type floorReload struct {
	ID           string    `json:"id"`
	AppID        string    `json:"appId"`
	TenantID     string    `json:"tenantId"`
	UserID       string    `json:"userId"`
	Type         string    `json:"type"`
	Status       string    `json:"status"`
	Partial      bool      `json:"partial"`
	Weight       int       `json:"weight"`
	CreationTime time.Time `json:"creationTime"`
	StartTime    time.Time `json:"startTime"`
	EndTime      time.Time `json:"endTime"`
	EngineTime   time.Time `json:"engineTime"`
	ErrorCode    string    `json:"errorCode"`
	ErrorMessage string    `json:"errorMessage"`
	Log          string    `json:"log"`
	Links        struct {
		Self struct {
			Href string `json:"href"`
		} `json:"self"`
	} `json:"links"`
}

type floorPage struct {
	Data  []floorReload `json:"data"`
	Links struct {
		Next struct {
			Href string `json:"href"`
		} `json:"next"`
	} `json:"links"`
}

// benchRecord returns a record as the service sends it, with a short log.
func benchRecord(i int) string {
	return fmt.Sprintf(`{"id":"5be59decca62aa%010x","log":"ReloadID: 5be59decca62aa%010x\nReload finished successfully\nIn total %d rows read from sources.\nIn total %d rows stored.\n",`+
		`"type":"chronos","appId":"116dbfae-7fb9-4983-8e23-5ccd8c508722","links":{"self":{"href":"https://your-tenant.us.qlikcloud.com/api/v1/reloads/5be59decca62aa%010x"}},`+
		`"status":"SUCCEEDED","userId":"FyPG6xWp6prDU6BXQ3g7LY9gWR_YRkkx","endTime":"2020-11-03T17:00:11.865Z","partial":false,"tenantId":"efSCcpNYuayTysONkUcE3F80zYQ_LV9w",`+
		`"startTime":"2020-11-03T17:00:06.351Z","engineTime":"2020-11-03T17:00:07.048Z","creationTime":"2020-11-03T17:00:00.164Z","weight":1}`, i, i, i*1000, i*900, i)
}

func benchServer(b *testing.B, body string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}))
	b.Cleanup(server.Close)
	return server.URL
}

func benchClient(b *testing.B, url string) *reloads.Client {
	client, err := reloads.NewClient(url, reloads.APIKey("test-token"), reloads.WithLimiters(unlimited))
	if err != nil {
		b.Fatal(err)
	}
	return client
}

// floorGet is the function that a user would write.
func floorGet(b *testing.B, url string, into any) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer test-token")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.Fatal(resp.Status)
	}
	if err := stdjson.NewDecoder(resp.Body).Decode(into); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkGet(b *testing.B) {
	url := benchServer(b, benchRecord(1))
	b.Run("floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var r floorReload
			floorGet(b, url+"/api/v1/reloads/5be59decca62aa0000000001", &r)
			if r.Status != "SUCCEEDED" {
				b.Fatal(r.Status)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		client := benchClient(b, url)
		b.ReportAllocs()
		for b.Loop() {
			r, err := client.Get(b.Context(), "5be59decca62aa0000000001")
			if err != nil || r.Status != reloads.StatusSucceeded {
				b.Fatal(r, err)
			}
		}
	})
}

func BenchmarkList100(b *testing.B) {
	records := make([]string, 100)
	for i := range records {
		records[i] = benchRecord(i)
	}
	url := benchServer(b, `{"data":[`+strings.Join(records, ",")+`],"links":{"self":{"href":"x"},"next":{"href":"?next=a"}}}`)
	b.Run("floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p floorPage
			floorGet(b, url+"/api/v1/reloads?limit=100", &p)
			if len(p.Data) != 100 {
				b.Fatal(len(p.Data))
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		client := benchClient(b, url)
		b.ReportAllocs()
		for b.Loop() {
			p, err := client.List(b.Context(), reloads.ListOptions{PageSize: 100})
			if err != nil || len(p.Reloads) != 100 {
				b.Fatal(err)
			}
		}
	})
}

// The floor of the limiter is the token bucket that it uses.
func BenchmarkLimiter(b *testing.B) {
	for name, limiter := range map[string]reloads.Limiter{
		"floor":  rate.NewLimiter(rate.Inf, 1000),
		"client": reloads.NewLimiter(1000, time.Nanosecond),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := limiter.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Many goroutines use one limiter.
func BenchmarkLimiterContended(b *testing.B) {
	for name, limiter := range map[string]reloads.Limiter{
		"floor":  rate.NewLimiter(rate.Inf, 1000),
		"client": reloads.NewLimiter(1000, time.Nanosecond),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := limiter.Wait(b.Context()); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// NewClient only allocates. The floor is its limiters.
func BenchmarkNewClient(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = reloads.NewLimiter(reloads.Tier1PerMinute, time.Minute)
			_ = reloads.NewLimiter(reloads.SpecialPerMinute, time.Minute)
			_ = reloads.NewLimiter(reloads.SpecialPerMinute, time.Minute)
		}
	})
	b.Run("client", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey("test-token")); err != nil {
				b.Fatal(err)
			}
		}
	})
}
