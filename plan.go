package reloads

import (
	"fmt"
	"slices"
)

// Plan is a set of reloads of which some start after others. The zero value is an empty plan, ready to use. Pass it to
// [Client.RunPlan], which may be called several times. A Plan is not safe for concurrent use.
type Plan struct {
	steps []planStep
}

type planStep struct {
	request func() Request // fmt would print the values of the variables of a Request
	after   []Step
}

// Add appends a step and returns it. The step starts when all of after have succeeded. They must be steps of this plan,
// so a plan cannot contain a cycle. If they are not, RunPlan refuses the whole plan.
func (p *Plan) Add(req Request, after ...Step) Step {
	p.steps = append(p.steps, planStep{request: func() Request { return req }, after: slices.Clone(after)})
	return Step(len(p.steps) - 1)
}

// Len returns the number of steps.
func (p *Plan) Len() int { return len(p.steps) }

// clone returns a copy to which later calls of Add do not add. A nil plan has no copy.
func (p *Plan) clone() *Plan {
	if p == nil {
		return nil
	}
	return &Plan{steps: slices.Clone(p.steps)}
}

func (p *Plan) validate() error {
	for i, s := range p.steps {
		for _, predecessor := range s.after {
			if predecessor < 0 || int(predecessor) >= i {
				return invalid("Plan", fmt.Sprintf("step %d", i),
					fmt.Sprintf("must start after earlier steps of this plan, got step %d", predecessor))
			}
		}
	}
	return nil
}
