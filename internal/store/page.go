package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/remuda-run/remuda/internal/remuda"
)

const (
	defaultPage = 50
	maxPage     = 200
)

// above sorts after every id: ids are lower-case letters, digits and an
// underscore.
const above = "~"

// pageOf checks a page request for ids with the given prefix. It returns the id
// to go on below of, and the limit.
func pageOf(p remuda.Page, prefix string) (before string, limit int, err error) {
	limit, err = limitOf(p)
	if err != nil || p.Cursor == "" {
		return above, limit, err
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil || !remuda.IsID(prefix, string(raw)) {
		return "", 0, badCursor()
	}
	return string(raw), limit, nil
}

// seqPageOf is pageOf for lists that are numbered.
func seqPageOf(p remuda.Page) (before int64, limit int, err error) {
	const last = int64(1)<<62 - 1
	limit, err = limitOf(p)
	if err != nil || p.Cursor == "" {
		return last, limit, err
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil {
		return 0, 0, badCursor()
	}
	before, err = strconv.ParseInt(string(raw), 10, 64)
	if err != nil || before < 1 {
		return 0, 0, badCursor()
	}
	return before, limit, nil
}

func limitOf(p remuda.Page) (int, error) {
	switch {
	case p.Limit == 0:
		return defaultPage, nil
	case p.Limit < 0 || p.Limit > maxPage:
		return 0, remuda.Invalid(remuda.FieldError{Field: "limit", Message: fmt.Sprintf("must be between 1 and %d", maxPage)})
	}
	return p.Limit, nil
}

func badCursor() error {
	return remuda.Invalid(remuda.FieldError{Field: "cursor", Message: `must be the "next" of the page before, unchanged`})
}

// list reads a page: query asks for limit rows and one more, key names a row in the
// cursor.
func list[T any](ctx context.Context, tx *Tx, what string, scan func(scanner) (T, error), limit int, key func(T) string, query string, args ...any) (page []T, next string, err error) {
	rows, err := all(ctx, tx, what, scan, query, args...)
	if err != nil {
		return nil, "", err
	}
	page, next = cut(rows, limit, key)
	return page, next, nil
}

// cut makes a page of rows that were asked for with one more than limit: the
// extra one only tells that there is a next page.
func cut[T any](rows []T, limit int, key func(T) string) (page []T, next string) {
	if len(rows) <= limit {
		return rows, ""
	}
	rows = rows[:limit]
	return rows, base64.RawURLEncoding.EncodeToString([]byte(key(rows[limit-1])))
}
