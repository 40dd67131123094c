package executions

import "context"

// residentHands is how many goroutines wait to run executions. What is more runs on
// goroutines of its own.
const residentHands = 4

// hand runs f on a goroutine that is there already, if one is free: its stack has the
// size that a script's end needs in the store, to which a new one would have to
// grow, copy by copy, while somebody waits for the answer.
func (s *Service) hand(f func()) {
	select {
	case s.hands <- f:
	default:
		go f()
	}
}

// lendHands keeps those goroutines until ctx ends. One that is busy then ends with
// what it runs, which Drain waits for.
func (s *Service) lendHands(ctx context.Context) {
	for range residentHands {
		go func() {
			for {
				select {
				case f := <-s.hands:
					f()
				case <-ctx.Done():
					return
				}
			}
		}()
	}
}
