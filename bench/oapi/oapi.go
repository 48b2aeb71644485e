// Package oapi contains the client that oapi-codegen generates from openapi.yaml. The generated file is not committed.
// Files that use it have the build tag oapi.
package oapi

import _ "github.com/oapi-codegen/runtime" // keeps the dependency of the generated code in go.mod

//go:generate go tool oapi-codegen -config config.yaml openapi.yaml
