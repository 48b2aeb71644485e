// Package planfile parses the plans of the command "reload run".
//
// A plan is YAML of the form that plan.schema.json describes, or a plain list of app IDs. JSON is YAML, too, without the escapes
// \/ and \ud800 to \udfff. The schema is not only for editors: the parser itself checks a plan with it.
package planfile

import (
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/reloads-go/reloads"
)

// Plan is a set of steps and how to run them. The zero value of an option means that the plan does not set it.
type Plan struct {
	MaxActive, Rerun                    int
	Once                                string // may contain {{date}}; see [Key]
	Attach, AfterPending, CancelOnAbort bool
	StepTimeout, Timeout                time.Duration

	// Steps are in the order of the file, except that a step follows all steps that it waits for.
	Steps []Step
}

// Step is the reload of an app.
type Step struct {
	Name    string // unique within the plan
	Request reloads.Request
	After   []int // the positions of its predecessors in Steps, which are less than its own
	Line    int   // where the step begins in the file; 0 without a file
}

// List returns a plan that reloads the given apps. It drops duplicates. It refuses what [Parse] refuses as an app ID.
func List(ids []string) (*Plan, error) {
	app := loadSchema().Items2020.Ref
	for _, id := range ids {
		if app.Validate(id) != nil {
			return nil, fmt.Errorf("an argument must be %s, got %s", app.Title, quote(id))
		}
	}
	return list(ids), nil
}

// list returns a plan that reloads the given apps. It drops duplicates.
func list(ids []string) *Plan {
	p := &Plan{}
	seen := map[string]bool{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			p.Steps = append(p.Steps, Step{Name: id, Request: reloads.Request{AppID: id}})
		}
	}
	return p
}

// Key returns the key for [reloads.Once] at the given time: once with each {{date}} replaced by the date in the location of
// now. It refuses what [Parse] refuses as once.
func Key(once string, now time.Time) (string, error) {
	if s := loadSchema().Properties["once"]; s.Validate(once) != nil {
		return "", fmt.Errorf("once must be %s, got %s", s.Title, quote(once))
	}
	return strings.ReplaceAll(once, "{{date}}", now.Format(time.DateOnly)), nil
}

// Parse parses a plan. Its errors begin with the name of the file, the line and the column. They never contain the value of
// a variable.
func Parse(name string, text []byte) (*Plan, error) {
	d, err := newDocument(name, text)
	if err != nil {
		return nil, err
	}
	if err := d.validate(); err != nil {
		return nil, err
	}
	if d.root.Kind == yaml.SequenceNode {
		return d.list(), nil
	}
	return d.plan()
}

// list returns the plan of a document that is a list of app IDs.
func (d *document) list() *Plan {
	var ids []string
	lines := map[string]int{}
	for _, n := range d.root.Content {
		ids = append(ids, n.Value)
		if lines[n.Value] == 0 {
			lines[n.Value] = n.Line
		}
	}
	p := list(ids)
	for i := range p.Steps {
		p.Steps[i].Line = lines[p.Steps[i].Name]
	}
	return p
}

// planText is what a plan contains. The tests compare its keys to those of the schema.
type planText struct {
	MaxActive     int           `yaml:"max-active"`
	Rerun         int           `yaml:"rerun"`
	Once          string        `yaml:"once"`
	Attach        bool          `yaml:"attach"`
	AfterPending  bool          `yaml:"after-pending"`
	CancelOnAbort bool          `yaml:"cancel-on-abort"`
	StepTimeout   time.Duration `yaml:"step-timeout"`
	Timeout       time.Duration `yaml:"timeout"`
	Steps         []stepText    `yaml:"steps"`
}

type stepText struct {
	Name      string            `yaml:"name"`
	App       string            `yaml:"app"`
	After     []string          `yaml:"after"`
	Partial   bool              `yaml:"partial"`
	Weight    int               `yaml:"weight"`
	Variables map[string]string `yaml:"variables"` // YAML decodes a scalar into a string as it is written
}

// plan returns the plan of a document that the schema accepts.
func (d *document) plan() (*Plan, error) {
	var text planText
	if d.root.Decode(&text) != nil { // the error may contain the value of a variable
		d.report(d.root, "the plan cannot be decoded")
		return nil, d.err()
	}
	steps, err := d.steps(text.Steps)
	if err != nil {
		return nil, err
	}
	return &Plan{
		MaxActive: text.MaxActive, Rerun: text.Rerun, Once: text.Once,
		Attach: text.Attach, AfterPending: text.AfterPending, CancelOnAbort: text.CancelOnAbort,
		StepTimeout: text.StepTimeout, Timeout: text.Timeout, Steps: steps,
	}, nil
}
