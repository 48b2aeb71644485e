package oauth

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Error is a refusal of the service to give a token. It does not show the secret.
type Error struct {
	// StatusCode is the HTTP status of the answer.
	StatusCode int
	// Code is that of the answer, such as "invalid_client" (RFC 6749, section 5.2); "" if it has none.
	Code string
	// Description is the service's own explanation; "" if it has none.
	Description string
}

// Error describes the refusal, and what to do about it where that is known.
func (e *Error) Error() string {
	s := fmt.Sprintf("oauth: the service gives no token: %d %s", e.StatusCode, http.StatusText(e.StatusCode))
	for _, part := range []string{e.Code, e.Description} {
		if part != "" {
			s += ": " + part
		}
	}
	switch {
	case e.StatusCode == http.StatusForbidden:
		s += " (the user is disabled, or too many tokens of the client are alive: share one source, revoke tokens or wait until they expire)"
	case e.StatusCode == http.StatusUnauthorized || e.Code == "invalid_client":
		s += " (check the client's id and secret)"
	}
	return s
}

// refusal reads an answer that is no token: the error of RFC 6749, or of Qlik's other APIs.
func (r request) refusal(status int, body []byte) *Error {
	var b struct {
		Error            string `json:"error"`
		ErrorDescription string `json:"error_description"`
		Errors           []struct {
			Code   string `json:"code"`
			Title  string `json:"title"`
			Detail string `json:"detail"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(body, &b) // what is not JSON says nothing
	e := &Error{StatusCode: status, Code: b.Error, Description: b.ErrorDescription}
	if len(b.Errors) > 0 {
		first := b.Errors[0]
		e.Code, e.Description = first.Code, first.Title
		if first.Detail != "" {
			e.Description += ": " + first.Detail
		}
	}
	e.Code, e.Description = r.hide(e.Code), r.hide(e.Description)
	return e
}
