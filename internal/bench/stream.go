package bench

import "context"

func (m *measurement) streamPiece(ctx context.Context, path string) error { return nil }
