package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/reloads-go/reloads/internal/redact"
)

// Error is an unsuccessful response to a token request: every response outside 2xx, including redirects, and a 2xx whose
// body states an error code. The client secret is replaced by "REDACTED" in all fields, unless it is shorter than 8
// bytes.
type Error struct {
	// StatusCode is the HTTP status code of the response.
	StatusCode int
	// Code is the error code in the response body, such as "invalid_client" (RFC 6749, section 5.2). It is empty if
	// the body has none.
	Code string
	// Description is the explanation in the response body. It is empty if the body has none.
	Description string
}

// Error returns the status, code and description of the response. For frequent causes it adds what to do about them.
func (e *Error) Error() string {
	s := strings.TrimSpace(fmt.Sprintf("oauth: token request failed: %d %s", e.StatusCode, http.StatusText(e.StatusCode)))
	for _, part := range []string{e.Code, e.Description} {
		if part != "" {
			s += ": " + part
		}
	}
	switch {
	case e.StatusCode == http.StatusForbidden:
		s += " (the user is disabled, or the client has too many active tokens: share one TokenSource, revoke tokens, or wait until they expire)"
	case e.StatusCode == http.StatusUnauthorized || e.Code == "invalid_client":
		s += " (check the client ID and the client secret)"
	}
	return s
}

// newError decodes the body of an unsuccessful response. The body has the format of RFC 6749, or that of the other Qlik
// Cloud APIs, or it is a form, which RFC 6749 does not provide for. Any other body leaves Code and Description empty.
func (r *tokenRequester) newError(status int, body []byte) *Error {
	var b struct {
		Error            string `json:"error"`
		ErrorDescription string `json:"error_description"`
		AccessToken      string `json:"access_token"`
		Errors           []struct {
			Code   string `json:"code"`
			Title  string `json:"title"`
			Detail string `json:"detail"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &b) != nil && b.AccessToken == "" { // otherwise it was JSON
		if form, err := url.ParseQuery(string(body)); err == nil {
			b.Error, b.ErrorDescription, b.AccessToken = form.Get("error"), form.Get("error_description"), form.Get("access_token")
		}
	}
	e := &Error{StatusCode: status, Code: b.Error, Description: b.ErrorDescription}
	if len(b.Errors) > 0 {
		first := b.Errors[0]
		e.Code, e.Description = first.Code, first.Title
		if first.Detail != "" {
			e.Description += ": " + first.Detail
		}
	}
	for _, secrets := range []*redact.Redactor{r.redact, redact.New(b.AccessToken)} {
		e.Code, e.Description = secrets.Text(e.Code), secrets.Text(e.Description)
	}
	return e
}

// retryLater is an *Error with the wait before the next request. The cache unwraps it.
type retryLater struct {
	error
	after time.Duration
}

const maxRetryAfter = 5 * time.Minute // a longer wait is not honored

// withRetryAfter adds the Retry-After of a 429 or 503 to err: whole seconds, or a date.
func withRetryAfter(err error, header http.Header) error {
	var e *Error
	if !errors.As(err, &e) || e.StatusCode != http.StatusTooManyRequests && e.StatusCode != http.StatusServiceUnavailable {
		return err
	}
	value := header.Get("Retry-After")
	var after time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		after = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		after = min(date.Sub(serverTime(header, time.Now())), maxRetryAfter)
	}
	return retryLater{err, after}
}
