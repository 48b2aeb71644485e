// Otel puts OpenTelemetry around the transport of a client, and shows the spans: one for each attempt, below the one of
// the program's own work. It runs against a fake tenant that is overloaded and fails at first.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

func main() {
	tenant := reloadstest.NewTenant()
	tenant.AddApp("sales", reloadstest.App{RunFor: time.Second})
	spans, err := trace(context.Background(), tenant)
	if err != nil {
		log.Fatal(err)
	}
	if err := show(os.Stdout, spans); err != nil {
		log.Fatal(err)
	}
}

// trace reloads the app sales and returns the spans of it.
func trace(ctx context.Context, tenant *reloadstest.Tenant) (tracetest.SpanStubs, error) {
	tenant.Inject(
		reloadstest.Fault{Operation: reloadstest.Trigger, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}},
		reloadstest.Fault{Operation: reloadstest.Get, Status: http.StatusBadGateway},
	)
	spans := tracetest.NewInMemoryExporter() // otlptracehttp.New, where there is a collector
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	defer func() { _ = provider.Shutdown(context.WithoutCancel(ctx)) }()

	// A span for each attempt: the client sends all of them through its transport.
	transport := otelhttp.NewTransport(tenant, // http.DefaultTransport, for a real tenant
		otelhttp.WithTracerProvider(provider),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " " + r.URL.Path }))
	client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey(tenant.Token()),
		reloads.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		return nil, err
	}

	ctx, work := provider.Tracer("nightly").Start(ctx, "reload sales")
	_, err = client.Run(ctx, reloads.Request{AppID: "sales"})
	if err != nil {
		work.RecordError(err)
		work.SetStatus(codes.Error, "the reload failed")
	}
	work.End()
	return spans.GetSpans(), err
}

// show prints the spans in the order of their beginning.
func show(w io.Writer, spans tracetest.SpanStubs) error {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { // what began together: the one that contains the other first
		return cmp.Or(a.StartTime.Compare(b.StartTime), b.EndTime.Compare(a.EndTime))
	})
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "SPAN\tSTATUS\tBEGAN\tTOOK")
	for _, s := range spans {
		indent, status := "", "-"
		if s.Parent.IsValid() {
			indent = "  "
		}
		for _, a := range s.Attributes {
			if a.Key == attribute.Key("http.response.status_code") {
				status = a.Value.String()
			}
		}
		fmt.Fprintf(table, "%s%s\t%s\t%v\t%v\n", indent, s.Name, status,
			s.StartTime.Sub(spans[0].StartTime).Round(time.Millisecond), s.EndTime.Sub(s.StartTime).Round(time.Millisecond))
	}
	return table.Flush()
}
