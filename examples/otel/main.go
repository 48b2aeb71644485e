// Otel adds OpenTelemetry tracing to the transport of a client and prints the spans: one for each attempt of a request, as
// children of a span of the program. It uses a fake tenant, which first refuses a trigger with 429 and then fails a poll
// with 502.
//
//	go run ./examples/otel
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

// trace reloads the app sales and returns the spans.
func trace(ctx context.Context, tenant *reloadstest.Tenant) (tracetest.SpanStubs, error) {
	tenant.Inject(
		reloadstest.Fault{Operation: reloadstest.Trigger, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}},
		reloadstest.Fault{Operation: reloadstest.Get, Status: http.StatusBadGateway},
	)
	spans := tracetest.NewInMemoryExporter() // with a collector, use otlptracehttp.New instead
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	defer func() { _ = provider.Shutdown(context.WithoutCancel(ctx)) }()

	// The client sends every attempt through its transport, so each attempt gets a span.
	transport := otelhttp.NewTransport(tenant, // with a real tenant, use http.DefaultTransport instead
		otelhttp.WithTracerProvider(provider),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method + " " + r.URL.Path }))
	client, err := reloads.NewClient("https://tenant.example.com", reloads.APIKey(tenant.Token()),
		reloads.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		return nil, err
	}

	ctx, span := provider.Tracer("nightly").Start(ctx, "reload sales")
	_, err = client.Run(ctx, reloads.Request{AppID: "sales"})
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, "the reload failed")
	}
	span.End()
	return spans.GetSpans(), err
}

// show prints the spans in the order of their start times.
func show(w io.Writer, spans tracetest.SpanStubs) error {
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int {
		// A parent may start at the same time as its child. It ends later, and comes first.
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
