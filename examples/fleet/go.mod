module github.com/reloads-go/reloads/examples/fleet

go 1.26.0

require (
	github.com/bsm/redislock v0.9.4
	github.com/google/go-cmp v0.7.0
	github.com/hibiken/asynq v0.26.0
	github.com/redis/go-redis/v9 v9.23.0
	github.com/reloads-go/reloads v0.1.0
	github.com/reloads-go/reloads/oauth v0.1.0
	github.com/reloads-go/reloads/redislimit v0.1.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-json-experiment/json v1.27.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/go-retryablehttp v0.7.8 // indirect
	github.com/robfig/cron/v3 v3.0.1 // indirect
	github.com/spf13/cast v1.10.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/oauth2 v0.38.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	google.golang.org/protobuf v1.36.10 // indirect
)

replace github.com/reloads-go/reloads => ../..

replace github.com/reloads-go/reloads/oauth => ../../oauth

replace github.com/reloads-go/reloads/redislimit => ../../redislimit
