package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/parleybus/parley/internal/events"
)

// The bounds of a file of defaults.
const (
	maxFile = 64 << 10 // bytes; the YAML library takes quadratic time
	// maxAliases keeps a few nested aliases from becoming gigabytes.
	maxAliases = 200
)

// Defaults stand where the Settings of a conversation say nothing.
type Defaults struct {
	Policy *events.Policy `yaml:"policy"`
	Limits events.Limits  `yaml:"limits"`
	Prices Prices         `yaml:"prices"`
	Hooks  []events.Hook  `yaml:"hooks"`
}

// Load reads a file of defaults: YAML with the keys policy, limits, prices and
// hooks, and under them the names of the events' JSON. Errors name the file and,
// where it is known, the line.
func Load(file string) (Defaults, error) {
	f, err := os.Open(file)
	if err != nil {
		return Defaults{}, fmt.Errorf("read the defaults: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Defaults{}, fmt.Errorf("read the defaults: %w", err)
	}
	d, err := parse(raw)
	if err != nil {
		return Defaults{}, fmt.Errorf("defaults %s: %w", file, err)
	}
	return d, nil
}

func parse(raw []byte) (Defaults, error) {
	if len(raw) > maxFile {
		return Defaults{}, fmt.Errorf("the file has more than %d bytes", maxFile)
	}
	var d Defaults
	file, err := decode(raw, &d)
	if err != nil {
		return Defaults{}, err
	}
	if at, err := d.check(); err != nil {
		return Defaults{}, fmt.Errorf("%s%w", lineOf(file, at), err)
	}
	return d, nil
}

// check validates; the path says where the error is.
func (d *Defaults) check() (at string, err error) {
	var judge Judge
	if at, err := judge.check(d.Policy); err != nil {
		return "$.policy" + at, fmt.Errorf("policy: %w", err)
	}
	if err := CheckLimits(d.Limits); err != nil {
		return "$.limits", fmt.Errorf("limits: %w", err)
	}
	if err := d.Prices.Check(); err != nil {
		return "$.prices", err
	}
	if at, err := checkHooks(d.Hooks); err != nil {
		return "$.hooks" + at, err
	}
	return "", nil
}

// decode reads the YAML. The library panics on some broken documents, which is
// an error like any other. A file that holds nothing says nothing.
func decode(raw []byte, into *Defaults) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the YAML cannot be read: %v", p)
		}
	}()
	if file, err = parser.ParseBytes(raw, 0); err != nil {
		return nil, atLine(err)
	}
	if len(file.Docs) > 1 {
		return nil, errors.New("the file holds several YAML documents: leave one")
	}
	var used survey
	for _, doc := range file.Docs {
		ast.Walk(&used, doc)
	}
	if used.aliases > maxAliases {
		return nil, fmt.Errorf("the file has %d aliases, at most %d are allowed", used.aliases, maxAliases)
	}
	if used.tag != nil {
		return nil, fmt.Errorf("line %d: the tag %s means nothing here: leave it out", used.tag.Position.Line, used.tag.Value)
	}
	if err := yaml.NewDecoder(bytes.NewReader(raw), yaml.Strict()).Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return nil, atLine(err)
	}
	return file, nil
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

// atLine brings an error of the YAML library to one line.
func atLine(err error) error {
	if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil && e.GetToken().Position != nil {
		return fmt.Errorf("line %d: %s", e.GetToken().Position.Line, e.GetMessage())
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(text)
}

// lineOf finds the line of a path such as $.policy.rules[1].when; what stands
// behind an alias has the line of the alias.
func lineOf(file *ast.File, at string) string {
	for at != "$" && at != "" {
		if p, err := yaml.PathString(at); err == nil {
			if n, err := p.FilterFile(file); err == nil && n.GetToken() != nil && n.GetToken().Position != nil {
				return fmt.Sprintf("line %d: ", n.GetToken().Position.Line)
			}
		}
		at = at[:max(1, strings.LastIndexAny(at, ".["))]
	}
	return ""
}
