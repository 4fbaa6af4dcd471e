// Package yamlfile reads the YAML that people write for Parley: strictly, within
// bounds, with the line in every error. Nothing panics on a broken document, also
// where the YAML library does. The caller bounds the size: the library takes
// quadratic time.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxAliases keeps a few nested aliases from becoming gigabytes.
const maxAliases = 200

// File is a file that was read; it knows the lines of its values.
type File struct{ tree *ast.File }

// Decode reads a file into a struct. Unknown and doubled fields, tags, several
// documents and many aliases are errors. A file that holds nothing is none, and
// gives the zero value.
func Decode(raw []byte, into any) (f *File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the YAML cannot be read: %v", p)
		}
	}()
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // of editors on Windows
	tree, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return nil, located(err)
	}
	if len(tree.Docs) > 1 {
		return nil, errors.New("the file holds several YAML documents: leave one")
	}
	var used survey
	for _, doc := range tree.Docs {
		ast.Walk(&used, doc)
	}
	if used.aliases > maxAliases {
		return nil, fmt.Errorf("the file has %d aliases, at most %d are allowed", used.aliases, maxAliases)
	}
	if used.tag != nil {
		return nil, fmt.Errorf("line %d: the tag %s means nothing here: leave it out", used.tag.Position.Line, used.tag.Value)
	}
	if err := yaml.NewDecoder(bytes.NewReader(raw), yaml.Strict()).Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return nil, located(err)
	}
	return &File{tree: tree}, nil
}

// At puts the line of a path such as $.rules[1].steps[0] before an error, or that
// of the nearest place around it that is there; what an alias refers to has
// the line of the alias.
func (f *File) At(path string, err error) error {
	for path != "$" && path != "" {
		if p, bad := yaml.PathString(path); bad == nil {
			if n, bad := p.FilterFile(f.tree); bad == nil && n.GetToken() != nil && n.GetToken().Position != nil {
				return fmt.Errorf("line %d: %w", n.GetToken().Position.Line, err)
			}
		}
		path = path[:max(1, strings.LastIndexAny(path, ".["))]
	}
	return err
}

// survey finds what a file may not hold, or not often.
type survey struct {
	aliases int
	tag     *token.Token
}

// Visit implements [ast.Visitor].
func (s *survey) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.AliasNode:
		s.aliases++
	case *ast.TagNode:
		s.tag = n.Start
	}
	return s
}

// located brings an error of the YAML library to one line.
func located(err error) error {
	if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil && e.GetToken().Position != nil {
		return fmt.Errorf("line %d: %s", e.GetToken().Position.Line, e.GetMessage())
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(text)
}
