package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/tool/manifest"
)

// absolute replaces arguments that are paths relative to the working directory: a
// command runs in the directory of its file.
func absolute(command []string) []string {
	all := slices.Clone(command)
	for i, arg := range all {
		relative := strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || i == 0 && strings.Contains(arg, "/")
		if path, err := filepath.Abs(arg); relative && err == nil {
			all[i] = path
		}
	}
	return all
}

func (a *app) mcpAddCommand() *cobra.Command {
	var s manifest.NewServer
	var env, headers []string
	cmd := &cobra.Command{
		Use:   "add NAME {URL | -- COMMAND ARGUMENT...}",
		Short: "Add an MCP server whose tools models may call",
		Long: `Add an MCP server to the file of tools: --tools-file or PARLEY_TOOLS, else tools.yaml
in the data directory, which is read where no other file is named. Workers that
run read it within seconds. ${NAME} in a header or a variable takes the value from
the worker's environment, so that no key is in the file.`,
		Example: `  parley mcp add files -- npx -y @modelcontextprotocol/server-filesystem /srv/shared
  parley mcp add search https://mcp.example.com/mcp --header 'Authorization: Bearer ${API_TOKEN}'
  parley mcp add github --env GITHUB_TOKEN -- github-mcp-server stdio`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Name = args[0]
			switch dash := cmd.ArgsLenAtDash(); {
			case dash == 1:
				s.Command = absolute(args[1:])
			case dash < 0 && len(args) == 2 && strings.Contains(args[1], "://"):
				s.URL = args[1]
			default:
				return usagef("write `parley mcp add NAME URL` or `parley mcp add NAME -- COMMAND ARGUMENT...`")
			}
			s.Set, s.Headers = map[string]string{}, map[string]string{}
			for _, one := range env {
				if name, value, set := strings.Cut(one, "="); set {
					s.Set[name] = value
				} else {
					s.Pass = append(s.Pass, name)
				}
			}
			for _, one := range headers {
				name, value, ok := strings.Cut(one, ":")
				if !ok {
					return usagef("--header %q is no header such as 'Authorization: Bearer ${API_TOKEN}'", one)
				}
				s.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
			path := cmp.Or(a.cfg.ToolsFile, host.ToolsFile(a.data))
			if err := manifest.Add(path, s, a.cfg.LookupEnv); err != nil {
				return usage(err)
			}
			_, err := fmt.Fprintf(stdout(), "added MCP server %s to %s\n", s.Name, path)
			return outputError(err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.cfg.ToolsFile, "tools-file", a.cfg.ToolsFile, "file to change (PARLEY_TOOLS); tools.yaml in the data directory when empty")
	f.StringVar(&s.Prefix, "prefix", "", "text before the name of each of its tools")
	f.StringArrayVar(&env, "env", nil, "variable of a command: NAME=VALUE, or NAME to pass on the worker's")
	f.StringArrayVar(&headers, "header", nil, "header of each request to a URL, such as 'Authorization: Bearer ${API_TOKEN}'")
	return cmd
}
