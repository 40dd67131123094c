package archtest

import (
	"errors"
	"go/ast"
	"go/types"
	"strings"
	"testing"
)

// lockedInside are the functions that take a lock inside a transaction of the store, and
// may. A transaction runs on the store's one writer: whoever holds such a lock must not
// wait for the store, nor for anything that can wait for it (package store, doc.go).
var lockedInside = map[string]string{
	"internal/executions: run.snapshot":          "mu of a run is held to look at it and to change it, over no call",
	"internal/organizations: Service.siteLimits": "the lock of the limits is held to look at them",
	"internal/runspaces: Service.owns":           "mu of the service is held to look into its maps",
	"internal/runtimes: builder.of":              "mu of the builder is held to look into its maps",
}

// TestTransactionsTakeNoLocks follows what code that works with a *store.Tx calls in its
// own package, and finds which of it takes a lock.
func TestTransactionsTakeNoLocks(t *testing.T) {
	t.Parallel()
	packages := map[string][]*ast.File{}
	for _, f := range allGoFiles(t) {
		if !f.test && strings.HasPrefix(f.dir, "internal/") && f.dir != "internal/store/storetest" {
			packages[f.dir] = append(packages[f.dir], f.file)
		}
	}
	transactions, found := 0, map[string]bool{}
	for dir, files := range packages {
		inside, names := lockers(dir, files)
		transactions += inside
		for _, name := range names {
			found[dir+": "+name] = true
		}
	}
	if transactions < 100 {
		t.Errorf("found only %d functions with a transaction; this test looks for the wrong thing", transactions)
	}
	for name := range found {
		if lockedInside[name] == "" {
			t.Errorf("%s takes a lock inside a transaction: take it before, or read what it guards before; if nobody waits who holds it, say so in lockedInside", name)
		}
	}
	for name := range lockedInside {
		if !found[name] {
			t.Errorf("%s is in lockedInside and takes no lock inside a transaction", name)
		}
	}
}

// takesTx says whether a function works with a transaction.
func takesTx(f *ast.FuncType) bool {
	for _, p := range f.Params.List {
		if star, ok := p.Type.(*ast.StarExpr); ok {
			if sel, ok := star.X.(*ast.SelectorExpr); ok && sel.Sel.Name == "Tx" {
				return true
			}
		}
	}
	return false
}

// alone says of every import that it is not there: what a package's own names mean is
// known without.
type alone struct{}

func (alone) Import(string) (*types.Package, error) { return nil, errors.New("not looked at") }

// lockers counts the functions of a package that work with a transaction, and names what
// they call in the package that takes a lock.
func lockers(dir string, files []*ast.File) (transactions int, names []string) {
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	known := types.Config{Importer: alone{}, Error: func(error) {}}
	_, _ = known.Check(dir, positions, files, info) // errors are what the imports would say
	declared := map[types.Object]*ast.FuncDecl{}
	var todo []ast.Node
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				declared[info.Defs[n.Name]] = n
				if takesTx(n.Type) {
					todo = append(todo, n)
				}
			case *ast.FuncLit:
				if takesTx(n.Type) {
					todo = append(todo, n)
				}
			}
			return true
		})
	}
	transactions = len(todo)
	seen := map[ast.Node]bool{}
	for len(todo) > 0 {
		here := todo[0]
		if todo = todo[1:]; seen[here] {
			continue
		}
		seen[here] = true
		ast.Inspect(here, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, _ := call.Fun.(*ast.Ident)
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
				name = sel.Sel
			}
			if name == nil {
				return true
			}
			if name.Name == "Lock" || name.Name == "RLock" {
				names = append(names, nameOf(here))
			}
			if d := declared[info.Uses[name]]; d != nil {
				todo = append(todo, d)
			}
			return true
		})
	}
	return transactions, names
}

func nameOf(n ast.Node) string {
	d, ok := n.(*ast.FuncDecl)
	if !ok {
		return "a function literal"
	}
	if d.Recv == nil {
		return d.Name.Name
	}
	on := d.Recv.List[0].Type
	if star, ok := on.(*ast.StarExpr); ok {
		on = star.X
	}
	if id, ok := on.(*ast.Ident); ok {
		return id.Name + "." + d.Name.Name
	}
	return d.Name.Name
}
