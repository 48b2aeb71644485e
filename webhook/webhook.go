// Package webhook receives the events that Qlik Cloud sends when a reload has finished.
//
// The handler of [New] checks the signature of a delivery and passes its event to a function. The event is a hint to poll
// that reload now:
//
//	handler, err := webhook.New(secret, func(e webhook.Event) { client.Poll(e.Data.ID) })
//
// Register a webhook in the tenant with the address of the handler, the same secret, and the event type [ReloadFinished].
// The service delivers to https addresses only.
//
// Do not rely on events. They can be late, repeated, out of order or lost. The signature covers the body, but no time:
// whoever has seen a delivery can send it again. So treat an event as a reason to ask the service, as the function above
// does, and not as a fact.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/reloads-go/reloads"
)

// The limits of the length of a secret, in characters. They are those of the service.
const minSecret, maxSecret = 32, 64

// maxBody is the maximum size of a body. The vendor's example of an event has 1 KiB.
const maxBody = 256 << 10

// Option configures the handler that [New] returns.
type Option func(*options)

type options struct{ secrets []string }

// WithSecret makes the handler accept deliveries that are signed with another secret, too. To rotate a secret without losing
// an event, accept both until the webhook in the tenant has the new one. The option can be given more than once.
func WithSecret(secret string) Option {
	return func(o *options) { o.secrets = append(o.secrets, secret) }
}

// New returns an [http.Handler] for the deliveries of a webhook whose secret is given. It calls handle for each event of type
// [ReloadFinished], before it responds. handle must return quickly and be safe for concurrent use. If the service does not
// get a response in time, it may consider the delivery failed.
//
// The status code of the response is
//
//   - 204 if handle was called, or if the event has another type and is ignored,
//   - 400 if the body is not a CloudEvent in JSON (an object whose type is a string with characters), if the data of an event of
//     type [ReloadFinished] have no id that is a string of 1 to 256 characters, or if reading the body fails,
//   - 401 if the header Qlik-Signature is not the HMAC-SHA256 of the body with one of the secrets, as hexadecimal digits,
//   - 405 if the method is not POST,
//   - 413 if the body exceeds 256 KiB.
//
// An event needs no more than that: any other member can be missing, or have another JSON type than documented; see [Data].
//
// The handler keeps and logs nothing, and no response repeats a part of the request. It contains the secrets, but nothing
// prints them. The server limits how long reading a body may take; see ReadTimeout of [http.Server].
//
// New returns an error that matches [reloads.ErrBadRequest] if a secret does not have 32 to 64 characters, or if handle or
// an option is nil.
func New(secret string, handle func(Event), opts ...Option) (http.Handler, error) {
	o := options{secrets: []string{secret}}
	for _, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("%w: webhook: an option is nil", reloads.ErrBadRequest)
		}
		opt(&o)
	}
	for _, s := range o.secrets {
		if n := utf8.RuneCountInString(s); n < minSecret || n > maxSecret {
			return nil, fmt.Errorf("%w: webhook: a secret has %d characters, want %d to %d", reloads.ErrBadRequest, n, minSecret, maxSecret)
		}
	}
	if handle == nil {
		return nil, fmt.Errorf("%w: webhook: handle is nil", reloads.ErrBadRequest)
	}
	// A function, because fmt and go-cmp would print the secrets in a field.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r, o.secrets, handle) }), nil
}

// serve handles a delivery.
func serve(w http.ResponseWriter, r *http.Request, secrets []string, handle func(Event)) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	signature, err := hex.DecodeString(r.Header.Get("Qlik-Signature"))
	if err != nil || len(signature) != sha256.Size { // before a body is read for nothing
		http.Error(w, "the signature is missing or invalid", http.StatusUnauthorized)
		return
	}
	var sent io.ReadCloser = http.NoBody
	if r.Body != nil { // it can be nil in a request that no server has read
		sent = r.Body
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, sent, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "the body is incomplete", http.StatusBadRequest)
		return
	}
	if !verify(secrets, body, signature) {
		http.Error(w, "the signature is missing or invalid", http.StatusUnauthorized)
		return
	}
	event, err := parse(body)
	if err != nil {
		http.Error(w, "the body is not an event", http.StatusBadRequest)
		return
	}
	if event.Type == ReloadFinished {
		handle(event)
	}
	w.WriteHeader(http.StatusNoContent)
}

// verify reports whether the signature is that of the body with one of the secrets. It tries all of them, so that its
// duration does not show which one it is.
func verify(secrets []string, body, signature []byte) (valid bool) {
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		valid = hmac.Equal(mac.Sum(nil), signature) || valid
	}
	return valid
}
