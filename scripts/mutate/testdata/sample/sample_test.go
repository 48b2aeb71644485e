package sample

import "testing"

func TestCount(t *testing.T) {
	if got := Count(3); got != 3 {
		t.Errorf("got %d", got)
	}
}

func TestSum(t *testing.T) {
	if got := Sum([]int{1, 5, 2, 0}, 3); got != 3 {
		t.Errorf("got %d", got)
	}
}
