// Package oapi holds the client that oapi-codegen makes of openapi.yaml. It is generated, and not committed: what
// uses it has the build tag oapi.
package oapi

import _ "github.com/oapi-codegen/runtime" // of the generated code: go.mod needs it without that, too

//go:generate go tool oapi-codegen -config config.yaml openapi.yaml
