package store

import (
	"fmt"
	"strings"
)

// listQuery builds the text of a filtered list of one organization. Only names
// of columns and constants of this package get into the text; values are
// parameters.
type listQuery struct {
	sb   strings.Builder
	args []any
}

// newListQuery starts a list of rows of org with ids below before.
func newListQuery(from, org, before string, limit int) *listQuery {
	q := &listQuery{args: []any{org, before, limit + 1}}
	q.sb.WriteString(from)
	q.sb.WriteString(" WHERE organization = $1 AND id < $2")
	return q
}

// equal narrows the list to rows whose column has the value, unless it is "".
func (q *listQuery) equal(column, value string) {
	if value == "" {
		return
	}
	q.args = append(q.args, value)
	fmt.Fprintf(&q.sb, " AND %s = $%d", column, len(q.args))
}

// where adds a constant condition.
func (q *listQuery) where(condition string) {
	q.sb.WriteString(" AND ")
	q.sb.WriteString(condition)
}

// text returns the query: newest first, one row more than the page holds.
func (q *listQuery) text() string { return q.sb.String() + " ORDER BY id DESC LIMIT $3" }
