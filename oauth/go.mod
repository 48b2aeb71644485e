module github.com/reloads-go/reloads/oauth

go 1.26.0

require (
	github.com/gofrs/flock v0.13.2
	github.com/google/go-cmp v0.7.0
	github.com/reloads-go/reloads v0.1.0
)

require golang.org/x/sys v0.49.0 // indirect

require (
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/go-retryablehttp v0.7.8 // indirect
	golang.org/x/oauth2 v0.38.0
	golang.org/x/time v0.16.0 // indirect
)

replace github.com/reloads-go/reloads => ../
