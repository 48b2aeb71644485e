package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
)

// unreachableError means that the tenant could not be reached, or that the connection to it was lost.
type unreachableError struct{ error }

func (e *unreachableError) Unwrap() error { return e.error }

// isUnreachable reports whether the tenant could not be reached. The timeout of an attempt is not an error of the
// transport.
func isUnreachable(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, new(*unreachableError)) || errors.As(err, &timeout) && timeout.Timeout()
}

// reaching returns a transport whose errors are unreachableErrors, as are those of reading its responses. The errors of
// net/http and of TLS have nothing else in common.
func reaching(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err != nil {
			var plain tls.RecordHeaderError
			if errors.As(err, &plain) && string(plain.RecordHeader[:]) == "HTTP/" {
				err = http.ErrSchemeMismatch // as in http.Client, which sees only unwrapped errors
			}
			return resp, &unreachableError{err}
		}
		resp.Body = &reachingBody{resp.Body}
		return resp, nil
	})
}

// reachingBody is the body of a response of reaching.
type reachingBody struct{ io.ReadCloser }

func (b *reachingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &unreachableError{err}
	}
	return n, err
}
