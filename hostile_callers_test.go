package reloads_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// A thousand goroutines share a client: every call has its own answer.
func TestAThousandGoroutinesShareAClient(t *testing.T) {
	t.Parallel()
	client, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Path[len(prefix+"/api/v1/reloads/"):]
		_, _ = fmt.Fprintf(w, `{"id":%q,"log":%q}`, id, "log of "+id)
	})
	var calling sync.WaitGroup
	for i := range 1000 {
		calling.Go(func() {
			id := fmt.Sprint("reload", i)
			r, err := client.Get(t.Context(), id)
			if err != nil || r.ID != id || r.Log != "log of "+id {
				t.Errorf("%s: %+v, %v", id, r, err)
			}
		})
	}
	calling.Wait()
}
