package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/policy"
)

// open connects, finds out which model answers, prints it, and sends the settings of
// the flags.
func (q *question) open(ctx context.Context) (*host.Session, error) {
	if err := q.check(); err != nil {
		return nil, usage(err)
	}
	if q.fresh = q.conversation == ""; q.fresh {
		q.conversation = parley.NewID()
	}
	q.app.logTo = logs{q.screen}
	s, err := q.app.everything(ctx)
	if err != nil {
		return nil, err
	}
	if q.rulesOnlyHere && !s.RunsRoles() {
		err = usagef("--rules is for the process that decides, and that one runs at %s already: give it to that `parley up` or orchestrator", s.Server())
	} else {
		err = q.configure(ctx, s)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// check refuses flags that contradict each other, before anything runs.
func (q *question) check() error {
	if q.limits.Steps < 0 || q.limits.Tokens < 0 || q.maxTime < 0 {
		return errors.New("--max-steps, --max-tokens and --max-time must not be below 0")
	}
	q.limits.TimeMS, q.limits.OnLimit = q.maxTime.Milliseconds(), parley.LimitAction(q.onLimit)
	if err := policy.CheckLimits(q.limits); err != nil {
		return fmt.Errorf("--on-limit: %w", err)
	}
	var judge policy.Judge
	if err := judge.Check(&parley.Policy{Rules: q.rules()}); err != nil {
		return fmt.Errorf("--approve and --deny: %w", err)
	}
	if q.conversation == "" {
		return nil
	}
	return parley.CheckID(q.conversation)
}

// rules are those of the flags.
func (q *question) rules() []parley.Rule {
	var rules []parley.Rule
	for _, tool := range q.deny {
		rules = append(rules, parley.Rule{Tool: tool, Action: parley.ActionDeny})
	}
	for _, tool := range q.approve {
		rules = append(rules, parley.Rule{Tool: tool, Action: parley.ActionApprove})
	}
	if q.yes {
		rules = append(rules, parley.Rule{Action: parley.ActionAuto})
	}
	return rules
}

// configure sends the settings given by flags to the conversation.
func (q *question) configure(ctx context.Context, s *host.Session) error {
	var provider string
	if len(q.app.cfg.Models) > 0 {
		provider, _, _ = strings.Cut(q.app.cfg.Models[0], "/")
	}
	offers, err := offered(ctx, s, provider)
	if err != nil {
		return err
	}
	model, why := q.model(s, offers)
	if !q.quiet && !q.json {
		p := profile()
		if of := parley.Pools(offers)[model]; of != nil {
			why = "a pool of " + strings.Join(of, ", ") + "; " + why
		}
		fmt.Fprintln(stderr(), p.Dim(wrapped(fmt.Sprintf("%s (%s)", model, why), 0, p.Width)))
		for _, line := range missingTools(offers) {
			fmt.Fprintln(stderr(), wrapped(line, 0, p.Width))
		}
		if q.yes {
			fmt.Fprintln(stderr(), p.Dim(wrapped("--yes: calls run without asking anybody, in this conversation and from now on", 0, p.Width)))
		}
	}
	set, said, err := q.parameters.settings()
	if err != nil {
		return err
	}
	// Only what this command was given: the conversation keeps the rest, deny rules
	// above all.
	settings := &parley.Settings{System: q.system, Tools: q.tools, Limits: q.limits, AddRules: q.rules(), Parameters: set.Parameters, AnswerSchema: set.AnswerSchema}
	if slices.Equal(q.tools, []string{"none"}) {
		settings.Tools = []string{"-"}
	}
	if len(q.app.cfg.Models) > 0 {
		settings.Route = model
	}
	said = said || settings.Route != "" || settings.System != "" || len(settings.Tools) > 0 || !settings.Limits.IsZero() || len(settings.AddRules) > 0
	if !said {
		return nil // what the conversation has, or the deployment's defaults
	}
	_, err = s.Conversation(q.conversation).Publish(ctx, settings)
	return err
}

// model is the full name of the model that will answer, and why it is that one.
func (q *question) model(s *host.Session, offers []parley.Offer) (model, why string) {
	if len(q.app.cfg.Models) > 0 {
		model = q.app.cfg.Models[0]
		if provider, rest, _ := strings.Cut(model, "/"); rest == "" {
			for _, o := range offers {
				if o.Kind == "llm" && o.Name == provider {
					model = o.Model
				}
			}
		}
		return model, "--model or PARLEY_MODEL"
	}
	if s.Models != nil {
		return s.Models.Default, s.Models.Why
	}
	for _, o := range offers {
		if o.Kind == "llm" && !strings.HasSuffix(o.Model, "/") && (model == "" || o.Default) {
			model = o.Model
		}
	}
	return model, "the default of the workers at " + s.URL()
}

// offered returns what workers offer; an error when no worker serves the provider and
// no pool has its name, or, when it is empty, no worker serves any.
func offered(ctx context.Context, s *host.Session, provider string) ([]parley.Offer, error) {
	offers, found, err := s.AwaitOffers(ctx, func(offers []parley.Offer) bool {
		return slices.ContainsFunc(offers, func(o parley.Offer) bool {
			return o.Kind == "llm" && (provider == "" || o.Name == provider) || o.Kind == "pool" && o.Name == provider
		})
	})
	if err != nil || found {
		return offers, err
	}
	if err := s.Writable(ctx); err != nil {
		return nil, err
	}
	return nil, unserved(s, provider, offers)
}

// unserved returns the error that a question would wait for a worker that is not
// there.
func unserved(s *host.Session, provider string, offers []parley.Offer) error {
	var routes []string
	for _, o := range offers {
		if o.Kind == "llm" && !slices.Contains(routes, o.Name) {
			routes = append(routes, o.Name)
		}
	}
	if len(routes) == 0 {
		return &parley.Error{Code: parley.CodeNoWorker, Err: fmt.Errorf("no llm-worker is connected to %s: start one with `parley up --only llm-worker`, or unset NATS_URL to run everything here", s.Server())}
	}
	pools := "there are no pools"
	if names := slices.Sorted(maps.Keys(parley.Pools(offers))); len(names) > 0 {
		pools = "the pools are " + strings.Join(names, ", ")
	}
	return usagef("no worker asks %q; the workers ask %s, %s: choose one of them with --model, or start an llm-worker that has a key for it", provider, strings.Join(routes, ", "), pools)
}
