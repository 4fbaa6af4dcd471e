package command

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/parleybus/parley/internal/tool"
)

// argv returns the arguments of the program for one call. Each value is one
// item, whatever it contains; values are never interpreted.
func (t *command) argv(args map[string]any) ([]string, error) {
	argv := []string{t.called}
	behind := false // a fixed "--", after which there are no options
	for _, i := range t.items {
		switch {
		case i.fixed():
			behind = behind || i.Text == "--"
			argv = append(argv, i.Text)
		case i.JSON:
			raw, err := tool.JSON(args)
			if err != nil {
				return nil, err
			}
			argv = i.add(argv, string(raw))
		default:
			var err error
			if argv, err = t.value(argv, i, args[i.Arg], behind); err != nil {
				return nil, err
			}
		}
	}
	return argv, nil
}

// value adds the items of a value.
func (t *command) value(argv []string, i Item, v any, behind bool) ([]string, error) {
	if on, ok := v.(bool); ok && i.Flag != "" {
		if on {
			argv = append(argv, i.Flag)
		}
		return argv, nil
	}
	texts, err := tool.Texts(v)
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		if strings.ContainsRune(text, 0) {
			return nil, tool.Fail("arguments.%s contains a NUL byte, which cannot be passed to a program: leave it out", i.Arg)
		}
		if i.Path {
			if text, err = t.below(i.Arg, text); err != nil {
				return nil, err
			}
		}
		if strings.HasPrefix(text, "-") && i.Prefix == "" && !i.Dash && !behind {
			return nil, tool.Fail("arguments.%s is %.100q: a value here must not begin with \"-\", because %s would take it for an option", i.Arg, text, t.called)
		}
		argv = i.add(argv, text)
	}
	return argv, nil
}

func (i Item) add(argv []string, text string) []string {
	if i.Flag != "" {
		argv = append(argv, i.Flag)
	}
	return append(argv, i.Prefix+text)
}

// below checks that a value is a path below the tool's directory and returns it
// in a form that cannot be an option. It does not detect a link that changes
// between the check and the program's use of the path.
func (t *command) below(arg, value string) (string, error) {
	clean := filepath.Clean(filepath.FromSlash(value))
	if value == "" || !filepath.IsLocal(clean) {
		return "", tool.Fail("arguments.%s is %.200q: give a path below the tool's directory, relative and without ..", arg, value)
	}
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return "", tool.Fail("the directory of the tool cannot be opened; the operator of the tool worker must fix this: %v", err)
	}
	defer root.Close()
	// For a path that does not exist yet, the existing parent directory is
	// checked.
	for at := clean; ; at = filepath.Dir(at) {
		_, err := root.Stat(at)
		if err == nil {
			return "." + string(filepath.Separator) + clean, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || at == "." {
			if p, ok := errors.AsType[*fs.PathError](err); ok {
				err = p.Err
			}
			return "", tool.Fail("arguments.%s is %.200q, which cannot be used: %v; only what is below the tool's directory can", arg, value, err)
		}
	}
}
