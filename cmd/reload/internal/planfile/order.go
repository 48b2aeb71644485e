package planfile

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/reloads-go/reloads"
)

// graph is the steps of a document and which of them wait for which.
type graph struct {
	d     *document
	steps []Step  // in the order of the file, without After
	after [][]int // of each step: its predecessors in the order of the file

	order []int // the steps in topological order, as far as they are known
	path  []int // the steps that are being visited: each waits for the next one
	state []visit
}

type visit int

const (
	unvisited visit = iota
	visiting
	visited
)

// steps returns the steps of a document in topological order.
func (d *document) steps(texts []stepText) ([]Step, error) {
	g := &graph{d: d, after: make([][]int, len(texts)), state: make([]visit, len(texts))}
	positions := g.add(texts)
	for i, text := range texts {
		for j, name := range text.After {
			g.connect(i, j, name, positions)
		}
	}
	for i := range g.steps {
		g.visit(i)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return g.sorted(), nil
}

// add adds the steps and returns the position of each name. It reports the names that are not unique.
func (g *graph) add(texts []stepText) map[string]int {
	positions := map[string]int{}
	for i, text := range texts {
		at := g.d.find("steps", strconv.Itoa(i))
		name, key := text.Name, "name"
		if name == "" {
			name, key = text.App, "app"
		}
		if first, again := positions[name]; again {
			hint := ""
			if text.Name == "" {
				hint = "; give this step a name"
			}
			n := g.d.find("steps", strconv.Itoa(i), key)
			g.d.report(n, "step %s: the step in line %d has this name, too%s", quote(name), g.steps[first].Line, hint)
		} else {
			positions[name] = i
		}
		g.steps = append(g.steps, Step{Name: name, Line: at.Line, Request: reloads.Request{
			AppID: text.App, Partial: text.Partial, Weight: text.Weight, Variables: text.Variables,
		}})
	}
	return positions
}

// entry returns the node of entry j of the after of step i.
func (g *graph) entry(i, j int) *yaml.Node {
	return g.d.find("steps", strconv.Itoa(i), "after", strconv.Itoa(j))
}

// connect makes step i wait for the step with the given name, which is entry j of its after.
func (g *graph) connect(i, j int, name string, positions map[string]int) {
	p, known := positions[name]
	switch {
	case !known:
		hint := ""
		if len(g.d.problems) < maxProblems { // further ones are not shown
			hint = suggest(name, g.names())
		}
		g.d.report(g.entry(i, j), "step %s: unknown step %s in after%s", quote(g.steps[i].Name), quote(name), hint)
	case p == i:
		g.d.report(g.entry(i, j), "step %s: a step must not wait for itself", quote(name))
	default:
		g.after[i] = append(g.after[i], p)
	}
}

func (g *graph) names() []string {
	names := make([]string, len(g.steps))
	for i, s := range g.steps {
		names[i] = s.Name
	}
	return names
}

// visit adds step i to the order, after its predecessors. It reports a cycle.
func (g *graph) visit(i int) {
	if g.state[i] != unvisited {
		return
	}
	g.state[i] = visiting
	g.path = append(g.path, i)
	for _, p := range g.after[i] {
		if g.state[p] == visiting {
			g.reportCycle(i, p)
		}
		g.visit(p)
	}
	g.path = g.path[:len(g.path)-1]
	g.state[i] = visited
	g.order = append(g.order, i)
}

// maxCycle is how many steps of a cycle an error names.
const maxCycle = 10

// reportCycle reports that step i waits for p, which waits for i.
func (g *graph) reportCycle(i, p int) {
	var names []string
	for _, s := range g.path[slices.Index(g.path, p):] {
		if len(names) == maxCycle {
			names = append(names, "…")
			break
		}
		names = append(names, g.steps[s].Name)
	}
	names = append(names, g.steps[p].Name)
	n := g.d.find("steps", strconv.Itoa(i), "after")
	for _, entry := range n.Content {
		if entry.Value == g.steps[p].Name {
			n = entry
		}
	}
	g.d.report(n, "step %s: the steps wait for each other: %s", quote(g.steps[i].Name), strings.Join(names, " → "))
}

// sorted returns the steps in topological order.
func (g *graph) sorted() []Step {
	position := make([]int, len(g.steps))
	for to, from := range g.order {
		position[from] = to
	}
	steps := make([]Step, len(g.steps))
	for to, from := range g.order {
		steps[to] = g.steps[from]
		for _, p := range g.after[from] {
			steps[to].After = append(steps[to].After, position[p])
		}
	}
	return steps
}
