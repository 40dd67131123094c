package initbin

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

//go:embed all:*
var files embed.FS

// name of the program in this folder; `make build` puts it there.
const name = "remuda-init"

// Binary returns the static remuda-init program that was embedded at build time.
func Binary() ([]byte, error) {
	b, err := files.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("remuda-init is not embedded in this program: it was built without it; run `make build`")
	}
	if err != nil {
		return nil, fmt.Errorf("read embedded remuda-init: %w", err)
	}
	return b, nil
}
