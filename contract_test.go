package reloads_test

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/reloads-go/reloads"
	"github.com/reloads-go/reloads/reloadstest"
)

// Programs compile against these names and signatures: a change of one of them is a new major version.
var (
	_ func(string, reloads.TokenSource, ...reloads.Option) (*reloads.Client, error) = reloads.NewClient

	_ reloads.TokenSource = reloads.APIKey("")
	_ reloads.TokenSource = reloads.TokenFunc(nil)
	_ reloads.Limiter     = (*rate.Limiter)(nil)
	_ reloads.Limiter     = (*reloads.WindowLimiter)(nil)
	_ error               = reloads.Code("")
	_ error               = (*reloads.Error)(nil)
	_ error               = (*reloads.ReloadError)(nil)
	_ http.Handler        = (*reloadstest.Tenant)(nil)
	_ http.RoundTripper   = (*reloadstest.Tenant)(nil)

	_ func(*http.Client) reloads.Option        = reloads.WithHTTPClient
	_ func(*slog.Logger) reloads.Option        = reloads.WithLogger
	_ func(string) reloads.Option              = reloads.WithUserAgent
	_ func(reloads.RetryPolicy) reloads.Option = reloads.WithRetry
	_ func(time.Duration) reloads.Option       = reloads.WithAttemptTimeout
	_ func(reloads.Limiters) reloads.Option    = reloads.WithLimiters
	_ func(reloads.PollPolicy) reloads.Option  = reloads.WithPolling

	_ func(int, time.Duration) *reloads.WindowLimiter              = reloads.NewLimiter
	_ func(...reloads.Status) reloads.Filter                       = reloads.StatusIs
	_ func(...reloads.Type) reloads.Filter                         = reloads.TypeIs
	_ func(bool) reloads.Filter                                    = reloads.PartialIs
	_ func(...reloads.Filter) reloads.Filter                       = reloads.And
	_ func(...reloads.Filter) reloads.Filter                       = reloads.Or
	_ func() reloads.RunOption                                     = reloads.AttachToPending
	_ func() reloads.RunOption                                     = reloads.CancelOnAbort
	_ func(...reloadstest.Option) *reloadstest.Tenant              = reloadstest.NewTenant
	_ func(*reloadstest.Tenant, ...reloads.Option) *reloads.Client = (*reloadstest.Tenant).NewClient
	_ func(*reloadstest.Tenant, string, reloadstest.App)           = (*reloadstest.Tenant).AddApp
	_ func(*reloadstest.Tenant) []reloads.Reload                   = (*reloadstest.Tenant).Reloads
	_ func(*reloadstest.Tenant) []reloadstest.Request              = (*reloadstest.Tenant).Requests

	_ interface {
		Trigger(ctx context.Context, req reloads.Request) (*reloads.Reload, error)
		Get(ctx context.Context, id string) (*reloads.Reload, error)
		Cancel(ctx context.Context, id string) (reloads.Status, error)
		List(ctx context.Context, opts reloads.ListOptions) (*reloads.Page, error)
		Log(ctx context.Context, appID, reloadID string) (io.ReadCloser, error)
		Pages(ctx context.Context, opts reloads.ListOptions) iter.Seq2[*reloads.Page, error]
		All(ctx context.Context, opts reloads.ListOptions) iter.Seq2[*reloads.Reload, error]
		Watch(ctx context.Context, id string) iter.Seq2[*reloads.Reload, error]
		Wait(ctx context.Context, id string) (*reloads.Reload, error)
		Run(ctx context.Context, req reloads.Request, opts ...reloads.RunOption) (*reloads.Reload, error)
		WaitAll(ctx context.Context, rs []*reloads.Reload) iter.Seq[reloads.Result]
		RunAll(ctx context.Context, reqs []reloads.Request, opts ...reloads.RunOption) iter.Seq[reloads.Result]
	} = (*reloads.Client)(nil)
)
