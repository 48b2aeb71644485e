// Package sample has tests that notice only some of its mutants.
package sample

// Sum returns the sum of the numbers below limit. It is not tested with a number that equals limit.
func Sum(numbers []int, limit int) (sum int) {
	for _, n := range numbers {
		if n < limit && n != 0 {
			sum += n
		}
	}
	return sum
}

// Count counts to limit. Some of its mutants do not end.
func Count(limit int) (n int) {
	for n < limit {
		n++
	}
	return n
}

// Untested is not tested.
func Untested() bool { return true }
