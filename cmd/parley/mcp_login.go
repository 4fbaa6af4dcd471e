package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parleybus/parley/internal/daemon/toolworker"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/mcp/oauth"
)

// loginFlags adds the flags of the commands for logins.
func (a *app) loginFlags(f *pflag.FlagSet) {
	f.StringVar(&a.cfg.ToolsFile, "tools-file", a.cfg.ToolsFile, "file with the servers (PARLEY_TOOLS); tools.yaml in the data directory when empty")
	f.StringVar(&a.cfg.Logins, "logins", a.cfg.Logins, "directory of the logins (PARLEY_LOGINS); that of the worker which runs the tools")
}

// mcpServers returns the MCP servers of the file of tools.
func (a *app) mcpServers() ([]*mcp.Server, error) {
	h, err := a.host()
	if err != nil {
		return nil, err
	}
	all, err := toolworker.Servers(h.WithTools(a.cfg), h.Log)
	if err != nil {
		return nil, usage(err)
	}
	return all, nil
}

// mcpServer returns the MCP server with a name.
func (a *app) mcpServer(name string) (*mcp.Server, error) {
	all, err := a.mcpServers()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return nil, usagef("there is no MCP server %q: add it with `parley mcp add`", name)
	}
	return nil, usagef("there is no MCP server %q: the file of tools has %s", name, strings.Join(names, ", "))
}

func (a *app) mcpLoginCommand() *cobra.Command {
	var noBrowser bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "login NAME",
		Short: "Log in at an MCP server that wants OAuth",
		Long: `Log in at an MCP server over HTTP that wants OAuth. The address to open is printed,
and opened where there is a browser: it comes back to a port of this machine. With
--no-browser, open it on another machine and paste the address that the browser then
cannot load.

The tokens are stored in a file that only you may read, in --logins. Workers with
this directory use and renew them; those that run need no restart.`,
		Example: `  parley mcp login search
  parley mcp login search --no-browser`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.mcpLogin(cmd.Context(), args[0], noBrowser, timeout)
		},
	}
	f := cmd.Flags()
	a.loginFlags(f)
	f.BoolVar(&noBrowser, "no-browser", false, "open no browser; read the address that it came back to from standard input")
	f.DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for the person")
	return cmd
}

func (a *app) mcpLogin(ctx context.Context, name string, noBrowser bool, timeout time.Duration) error {
	s, err := a.mcpServer(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("nobody logged in within %s: run `parley mcp login %s` again, with a longer --timeout if need be", timeout, name))
	defer cancel()
	var paste io.Reader
	if noBrowser {
		paste = os.Stdin
	}
	tools, err := mcp.Login(ctx, s, func(address string) error {
		fmt.Fprintf(stderr(), "Open this address and log in:\n\n  %s\n\n", address)
		switch {
		case noBrowser:
			fmt.Fprintln(stderr(), "Then paste the address that the browser came back to, whether it could load it or not:")
		case openBrowser(ctx, address):
			fmt.Fprintln(stderr(), "It is being opened in your browser.")
		default:
			fmt.Fprintln(stderr(), "If the browser is on another machine, use --no-browser.")
		}
		return nil
	}, paste)
	switch {
	case errors.Is(err, mcp.ErrNoLogin):
		_, err = fmt.Fprintf(stdout(), "MCP server %s needs no login and lists %d tools\n", name, tools)
	case err == nil:
		_, err = fmt.Fprintf(stdout(), "logged in at MCP server %s; it lists %d tools\n", name, tools)
	default:
		return err
	}
	return outputError(err)
}

// openBrowser opens an address if a person sits at a terminal of a machine with a
// browser. It does not wait for it.
func openBrowser(ctx context.Context, address string) bool {
	if !isatty.IsTerminal(os.Stdin.Fd()) || !shownToPerson() {
		return false
	}
	command := []string{"xdg-open"}
	switch {
	case runtime.GOOS == "darwin":
		command = []string{"open"}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler"}
	case os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "":
		return false
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), command[0], append(command[1:], address)...)
	if cmd.Start() != nil {
		return false
	}
	return cmd.Process.Release() == nil
}

func (a *app) mcpLogoutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logout NAME",
		Short: "Remove the login at an MCP server and revoke it",
		Long: `Remove the login at an MCP server. Its token is revoked where the authorization
server takes that; where it does not, the token stays valid until its end.`,
		Example: `  parley mcp logout search`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.mcpServer(args[0])
			if err != nil {
				return err
			}
			revoked, err := mcp.Logout(cmd.Context(), s)
			switch {
			case errors.Is(err, oauth.ErrNone):
				return fmt.Errorf("there is no login at MCP server %s in %s", s.Name, a.cfg.Logins)
			case err != nil:
				return err
			case revoked:
				_, err = fmt.Fprintf(stdout(), "logged out of MCP server %s\n", s.Name)
			default:
				_, err = fmt.Fprintf(stdout(), "removed the login at MCP server %s; its authorization server did not revoke the token, which stays valid until its end\n", s.Name)
			}
			return outputError(err)
		},
	}
	a.loginFlags(cmd.Flags())
	return cmd
}

// listedServer is one line of mcp list.
type listedServer struct {
	Name    string     `json:"name"`
	Command []string   `json:"command,omitempty"`
	URL     string     `json:"url,omitempty"`
	Login   bool       `json:"login"`
	Until   *time.Time `json:"until,omitempty"` // the end of the token, which is renewed
	Problem string     `json:"problem,omitempty"`
}

func (a *app) mcpListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the MCP servers of the file of tools and their logins",
		Long: `List the MCP servers of the file of tools, and whether there is a login at each. No
server is started or asked: ` + "`parley tools`" + ` prints whose tools are missing, and
` + "`parley doctor`" + ` asks each server.`,
		Example: `  parley mcp list`,
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.mcpList() },
	}
	a.loginFlags(cmd.Flags())
	a.outputFlag(cmd)
	return cmd
}

func (a *app) mcpList() error {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	servers, err := a.mcpServers()
	if err != nil {
		return err
	}
	all := []listedServer{}
	for _, s := range servers {
		one := listedServer{Name: s.Name, Command: s.Command, URL: s.URL}
		if s.URL != "" {
			login, err := mcp.LoginOf(s)
			if err != nil {
				one.Problem = err.Error()
			}
			if one.Login = login != nil; one.Login && !login.Expiry.IsZero() {
				one.Until = &login.Expiry
			}
		}
		all = append(all, one)
	}
	if asJSON {
		return printJSON(all)
	}
	for _, one := range all {
		where, login := one.URL, ""
		switch {
		case one.URL == "":
			where = strings.Join(one.Command, " ")
		case one.Problem != "":
			login = one.Problem
		case one.Login:
			login = "logged in"
		}
		if _, err := fmt.Fprintln(stdout(), strings.TrimRight(fmt.Sprintf("%-20s %-50s %s", one.Name, where, login), " ")); err != nil {
			return outputError(err)
		}
	}
	return nil
}
