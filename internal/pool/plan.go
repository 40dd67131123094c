package pool

// wish is what one generation would have.
type wish struct {
	least  int   // even when nobody asks
	most   int   // by recent demand, at least least
	memory int64 // bytes of one instance
}

// plan shares slots and memory out. Everybody gets its least before anybody gets
// more, and then the one with the smallest share of its wish is next, so that
// nobody's demand takes all. The result has an element for each wish.
func plan(wishes []wish, slots int, memory int64) []int {
	given := make([]int, len(wishes))
	give := func(limit func(wish) int) {
		for slots > 0 {
			next := -1
			for i, w := range wishes {
				if given[i] >= limit(w) || w.memory > memory {
					continue
				}
				if next < 0 || given[i]*limit(wishes[next]) < given[next]*limit(w) {
					next = i
				}
			}
			if next < 0 {
				return
			}
			given[next]++
			slots--
			memory -= wishes[next].memory
		}
	}
	give(func(w wish) int { return w.least })
	give(func(w wish) int { return w.most })
	return given
}
