package policy

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/identity"
	"github.com/parleybus/parley/internal/yamlfile"
)

// maxFile is the size of a file of defaults, in bytes.
const maxFile = 64 << 10

// Defaults apply where the Settings of a conversation are not set.
type Defaults struct {
	Policy *events.Policy `yaml:"policy"`
	Limits events.Limits  `yaml:"limits"`
	Prices Prices         `yaml:"prices"`
	Hooks  []events.Hook  `yaml:"hooks"`
	// Route is asked when neither Settings nor the turn name one; without it, what
	// workers announce decides.
	Route string `yaml:"route"`
	// Pools are models that stand in for each other, by the name of the pool.
	Pools Pools `yaml:"pools"`
	// Identities are the people and apps that sign their inputs, Inputs what is
	// required of inputs. Book has both.
	Identities []identity.Identity `yaml:"identities"`
	Inputs     identity.Inputs     `yaml:"inputs"`
	Book       *identity.Book      `yaml:"-"`
	// Ceilings apply to the whole deployment; Settings cannot change them.
	Ceilings ceilings.Ceilings `yaml:"ceilings"`
}

// Load reads a file of defaults: YAML with the keys policy, limits, prices, hooks,
// route, pools, identities, inputs and ceilings, and under them the names of the events' JSON;
// without a file name it returns the defaults of a deployment without one. Errors name the file and,
// where it is known, the line.
func Load(file string) (Defaults, error) {
	if file == "" {
		return Defaults{Ceilings: ceilings.Defaults()}, nil
	}
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
	d := Defaults{Ceilings: ceilings.Defaults()}
	file, err := yamlfile.Decode(raw, &d)
	if err != nil {
		return Defaults{}, err
	}
	if d.Ceilings.IsZero() { // an empty file, or an empty section, overwrites them
		d.Ceilings = ceilings.Defaults()
	}
	if at, err := d.check(); err != nil {
		return Defaults{}, file.At(at, err)
	}
	return d, nil
}

// check validates; the path locates the error.
func (d *Defaults) check() (at string, err error) {
	book, at, err := identity.New(d.Identities, d.Inputs)
	if err != nil {
		return at, err
	}
	d.Book = book
	if key, err := d.Ceilings.Check(); err != nil {
		return "$.ceilings." + key, fmt.Errorf("ceilings: %w", err)
	}
	judge := Judge{Ceilings: d.Ceilings}
	if at, err := judge.check(d.Policy); err != nil {
		return "$.policy" + at, fmt.Errorf("policy: %w", err)
	}
	if at, err := book.CheckPolicy(d.Policy); err != nil {
		return "$.policy" + at, fmt.Errorf("policy: %w", err)
	}
	if err := CheckLimits(d.Limits); err != nil {
		return "$.limits", fmt.Errorf("limits: %w", err)
	}
	if err := d.Prices.Check(); err != nil {
		return "$.prices", err
	}
	if token, _, _ := strings.Cut(d.Route, "/"); d.Route != "" && !regexp.MustCompile(hookName).MatchString(token) {
		return "$.route", fmt.Errorf("route %q is none: give a provider, or provider/model", d.Route)
	}
	if at, err := d.Pools.Check(); err != nil {
		return "$.pools" + at, err
	}
	if at, err := checkHooks(d.Hooks); err != nil {
		return "$.hooks" + at, err
	}
	return "", nil
}
