module example.com/downstream

go 1.26.0

require github.com/reloads-go/reloads v0.1.0

require (
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/go-retryablehttp v0.7.8 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace github.com/reloads-go/reloads => ../..
