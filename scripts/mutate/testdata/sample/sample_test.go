package sample

import "testing"

func TestSum(t *testing.T) {
	if got := Sum([]int{1, 5, 2, 0}, 3); got != 3 {
		t.Errorf("got %d", got)
	}
}
