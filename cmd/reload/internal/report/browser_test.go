package report

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/reloads-go/reloads/cmd/reload/internal/batch"
)

// measureJS returns a rendered as JSON.
//
//go:embed testdata/measure.js
var measureJS string

// rendered is what the browser shows of a page.
type rendered struct {
	Width, ScrollWidth float64
	Rows               []renderedRow
	Ticks              []renderedTick
	Texts              []renderedText
	Styled             bool // whether the Content-Security-Policy lets the style sheet apply
}

type renderedRow struct {
	Name       string
	Marked     bool // whether the mark of the critical path is visible
	Row, Track box
	Bars       []renderedBar
}

type renderedBar struct {
	Box     box     // without the outline
	Outline float64 // half of it is inside the box
	Title   string
}

// renderedTick is a line of the grid, with its label at the axis.
type renderedTick struct {
	Line, Label box
	Text        string
}

// renderedText is a text with the colors that it has and that are behind it, from 0 to 255.
type renderedText struct {
	Text              string
	Color, Background [3]float64
}

type box struct{ Left, Top, Right, Bottom float64 }

// browser starts Chromium, and returns the context in which tabs are opened.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting Chromium, which scripts/prerequisites installs: %v", err)
	}
	return ctx
}

// render opens the page of a batch in a new tab, and measures it. The page must not load anything else.
func render(t *testing.T, browser context.Context, b *batch.Batch, width int64, scheme string) (r rendered) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	var out strings.Builder
	if err := HTML(&out, b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(browser)
	defer cancel()
	var requests atomic.Int64
	count := func(event any) {
		if request, ok := event.(*network.EventRequestWillBeSent); ok && requests.Add(1) > 1 {
			t.Errorf("the page requested %s", request.Request.URL)
		}
	}
	colors := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	measured, err := chromedp.Run(ctx, func(ctx context.Context, tab *chromedp.Target) ([]byte, error) {
		if err := chromedp.Listen(ctx, count); err != nil {
			return nil, err
		}
		if _, err := cdp.Call(ctx, tab, network.Enable, network.EnableParams{}); err != nil {
			return nil, err
		}
		if _, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, colors); err != nil {
			return nil, err
		}
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900), chromedp.Navigate("file://"+filepath.ToSlash(file))); err != nil {
			return nil, err
		}
		return chromedp.Run(ctx, chromedp.Evaluate[[]byte](measureJS))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(measured, &r); err != nil {
		t.Fatal(err)
	}
	if requests.Load() == 0 {
		t.Error("the request of the page itself was not counted")
	}
	return r
}

func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	batches := map[string]*batch.Batch{
		"night": night(), "resumed": resumedNight(), "held": heldNight(), "interrupted": interruptedNight(), "in progress": inProgress(), "hostile": hostile(),
		"short": short(), "empty": empty(), "200 steps": many(200),
	}
	for name, b := range batches {
		for _, width := range []int64{390, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				t.Run(fmt.Sprint(name, " ", width, " ", scheme), func(t *testing.T) {
					r := render(t, ctx, b, width, scheme)
					if r.Width != float64(width) || r.ScrollWidth > r.Width {
						t.Errorf("the page is %v wide in a window of %v, want %d", r.ScrollWidth, r.Width, width)
					}
					checkTimeline(t, b, r)
					checkAxis(t, b, r)
					checkContrast(t, r, scheme)
				})
			}
		}
	}
}

// checkTimeline compares the bars with the times of the batch.
func checkTimeline(t *testing.T, b *batch.Batch, r rendered) {
	t.Helper()
	if len(r.Rows) != len(b.Steps) {
		t.Fatalf("%d rows, want %d", len(r.Rows), len(b.Steps))
	}
	critical := map[int]bool{}
	for _, i := range b.CriticalPath() {
		critical[i] = true
	}
	for n, i := range rowOrder(b) {
		row := r.Rows[n]
		if want := linkTo(b, i).Name; row.Name != want {
			t.Fatalf("row %d is %q, want %q", n, row.Name, want)
		}
		if row.Marked != critical[i] {
			t.Errorf("%s is marked as critical: %t, want %t", row.Name, row.Marked, critical[i])
		}
		if row.Track.Left < 0 || row.Track.Right > r.Width || row.Track.Right-row.Track.Left < 250 {
			t.Errorf("%s: the track %v has no room in a page of %v", row.Name, row.Track, r.Width)
		}
		spans := b.Spans(i, end(b))
		if len(row.Bars) != len(spans) {
			t.Errorf("%s has %d bars, want %d", row.Name, len(row.Bars), len(spans))
			continue
		}
		for k, s := range spans {
			checkBar(t, b, row, row.Bars[k], s)
		}
	}
}

// checkBar checks that a bar is in its row, is where its times are, and says what it is.
func checkBar(t *testing.T, b *batch.Batch, row renderedRow, got renderedBar, s batch.Span) {
	t.Helper()
	const tolerance = 1
	width, total := row.Track.Right-row.Track.Left, end(b).Sub(b.Start)
	left := row.Track.Left + width*float64(s.From.Sub(b.Start))/float64(total)
	right := row.Track.Left + width*float64(s.To.Sub(b.Start))/float64(total)
	if math.Abs(got.Box.Left-left) > tolerance || math.Abs(got.Box.Right-right) > tolerance {
		t.Errorf("%s: the bar %q is from %.1f to %.1f, want %.1f to %.1f", row.Name, got.Title, got.Box.Left, got.Box.Right, left, right)
	}
	if got.Box.Top < row.Row.Top || got.Box.Bottom > row.Row.Bottom || got.Box.Right-got.Box.Left+got.Outline < 1 || got.Box.Bottom <= got.Box.Top {
		t.Errorf("%s: the bar %q at %v is invisible or outside its row at %v", row.Name, got.Title, got.Box, row.Row)
	}
	if !strings.Contains(got.Title, string(s.Phase)) {
		t.Errorf("%s: the bar is called %q, want its phase %q", row.Name, got.Title, s.Phase)
	}
}

// checkAxis checks that the lines of the grid are where the times of their labels are, and that no label covers another.
func checkAxis(t *testing.T, b *batch.Batch, r rendered) {
	t.Helper()
	if len(b.Steps) > 0 && len(r.Ticks) < 2 {
		t.Errorf("%d ticks", len(r.Ticks))
	}
	for n, tick := range r.Ticks {
		at, err := time.ParseDuration(tick.Text)
		if err != nil {
			t.Fatal(err)
		}
		track := r.Rows[0].Track
		want := track.Left + (track.Right-track.Left)*float64(at)/float64(end(b).Sub(b.Start))
		if math.Abs(tick.Line.Left-want) > 1 || tick.Label.Left > want+1 || tick.Label.Right < want-1 || tick.Label.Right > r.Width {
			t.Errorf("the line %q is at %.1f, its label from %.1f to %.1f, want %.1f", tick.Text, tick.Line.Left, tick.Label.Left, tick.Label.Right, want)
		}
		if n > 0 && r.Ticks[n-1].Label.Right+4 > tick.Label.Left {
			t.Errorf("the labels %q and %q touch", r.Ticks[n-1].Text, tick.Text)
		}
	}
}

// checkContrast checks that every text can be read (WCAG 2, level AA), and that the page has the colors of the scheme.
func checkContrast(t *testing.T, r rendered, scheme string) {
	t.Helper()
	if len(r.Texts) == 0 || !r.Styled {
		t.Fatalf("%d texts; the style sheet applies: %t", len(r.Texts), r.Styled)
	}
	for _, text := range r.Texts {
		light, dark := luminance(text.Color), luminance(text.Background)
		if isDark := light > dark; isDark != (scheme == "dark") {
			t.Errorf("%q has the color %v on %v in the %s scheme", text.Text, text.Color, text.Background, scheme)
		}
		if light < dark {
			light, dark = dark, light
		}
		if ratio := (light + 0.05) / (dark + 0.05); ratio < 4.5 {
			t.Errorf("%q has a contrast of %.2f (%v on %v), want 4.5", text.Text, ratio, text.Color, text.Background)
		}
	}
}

// luminance returns the relative luminance of a color, as WCAG 2 defines it.
func luminance(color [3]float64) float64 {
	linear := func(c float64) float64 {
		if c /= 255; c <= 0.04045 {
			return c / 12.92
		} else {
			return math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear(color[0]) + 0.7152*linear(color[1]) + 0.0722*linear(color[2])
}
