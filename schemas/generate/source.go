package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// source holds the data from the Go source that reflection does not provide.
type source struct {
	text   map[string]string  // doc comment of every type
	fields map[string]string  // comment of every field, by "Type.name", with the name on the wire
	values map[string][]value // constants of every string type, in order
}

// value is a constant and its trailing comment.
type value struct {
	text    string
	comment string
}

// parse reads the packages in folders.
func parse(dirs ...string) (*source, error) {
	src := &source{text: map[string]string{}, fields: map[string]string{}, values: map[string][]value{}}
	for _, dir := range dirs {
		if err := src.parse(dir); err != nil {
			return nil, err
		}
	}
	return src, nil
}

func (s *source) parse(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return fmt.Errorf("no Go files in %s: is -root the module's folder?", dir)
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/parleybus/parley/internal/"+filepath.Base(dir), doc.PreserveAST)
	if err != nil {
		return err
	}
	printer := pkg.Printer()
	printer.TextWidth = -1
	for _, t := range pkg.Types {
		s.text[t.Name] = strings.TrimSpace(string(printer.Text(pkg.Parser().Parse(t.Doc))))
		s.comments(t)
		for _, group := range t.Consts {
			if err := s.constants(group.Decl); err != nil {
				return err
			}
		}
	}
	return nil
}

// comments collects the comments of the fields of a struct.
func (s *source) comments(t *doc.Type) {
	for _, spec := range t.Decl.Specs {
		typ, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		fields, ok := typ.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range fields.Fields.List {
			if len(f.Names) == 0 || f.Tag == nil {
				continue
			}
			tag, err := strconv.Unquote(f.Tag.Value)
			if err != nil {
				continue
			}
			name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
			text := f.Doc.Text()
			if f.Comment != nil {
				text = f.Comment.Text()
			}
			s.fields[t.Name+"."+name] = describes(strings.Join(strings.Fields(text), " "), f.Names[0].Name, name)
		}
	}
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
