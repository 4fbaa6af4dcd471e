package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// source holds the data from the Go source of the events that reflection does
// not provide.
type source struct {
	text   map[string]string  // doc comment of every type
	values map[string][]value // constants of every string type, in order
}

// value is a constant and its trailing comment.
type value struct {
	text    string
	comment string
}

func parse(dir string) (*source, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no Go files in %s: is -root the module's folder?", dir)
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/parleybus/parley/internal/events", doc.PreserveAST)
	if err != nil {
		return nil, err
	}
	printer := pkg.Printer()
	printer.TextWidth = -1
	src := &source{text: map[string]string{}, values: map[string][]value{}}
	for _, t := range pkg.Types {
		src.text[t.Name] = strings.TrimSpace(string(printer.Text(pkg.Parser().Parse(t.Doc))))
		for _, group := range t.Consts {
			if err := src.constants(group.Decl); err != nil {
				return nil, err
			}
		}
	}
	return src, nil
}

// constants collects the constants of a group that have a named type.
func (s *source) constants(group *ast.GenDecl) error {
	for _, spec := range group.Specs {
		c, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		typ, ok := c.Type.(*ast.Ident)
		if !ok {
			continue
		}
		for _, expr := range c.Values {
			lit, ok := expr.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return fmt.Errorf("constant %s of type %s is not a string literal, so its value cannot be read from the source", c.Names[0], typ)
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				return fmt.Errorf("constant %s: %w", c.Names[0], err)
			}
			s.values[typ.Name] = append(s.values[typ.Name], value{text: text, comment: strings.TrimSpace(c.Comment.Text())})
		}
	}
	return nil
}
