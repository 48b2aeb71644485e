package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tenantContext is what a context of qlik-cli says of a tenant.
type tenantContext struct {
	server string
	credentials
}

// errNoContext is a user who has none, or none that is active.
var errNoContext = errors.New("there is no active context of qlik-cli")

// readContext reads a context of qlik-cli, the active one if name is "". It never writes. An error quotes nothing of the
// file, which holds keys.
func readContext(name string) (c tenantContext, err error) {
	path, err := contextsPath()
	if err != nil {
		return c, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && name == "" {
		return c, errNoContext
	} else if err != nil {
		return c, err
	}
	var file struct {
		Current  string `yaml:"current-context"`
		Contexts map[string]struct {
			Server       string            `yaml:"server"`
			ServerType   string            `yaml:"server-type"`
			Headers      map[string]string `yaml:"headers"`
			ClientID     string            `yaml:"oauth-client-id"`
			ClientSecret string            `yaml:"oauth-client-secret"`
		} `yaml:"contexts"`
	}
	if yaml.Unmarshal(text, &file) != nil {
		return c, fmt.Errorf("%s is not as qlik-cli writes it", path)
	}
	if name == "" {
		name = file.Current
	}
	if name == "" {
		return c, errNoContext
	}
	found, ok := file.Contexts[name]
	switch {
	case !ok:
		return c, fmt.Errorf("%s has no context %q", path, name)
	case found.ServerType != "" && !strings.EqualFold(found.ServerType, "cloud"):
		return c, fmt.Errorf("the context %q is for %q, not for Qlik Cloud", name, found.ServerType)
	case found.Server == "":
		return c, fmt.Errorf("the context %q has no server", name)
	}
	c.server = found.Server
	for header, value := range found.Headers {
		if strings.EqualFold(header, "Authorization") {
			scheme, key, _ := strings.Cut(strings.TrimSpace(value), " ")
			if !strings.EqualFold(scheme, "Bearer") {
				return c, fmt.Errorf("the context %q does not authenticate with a key", name)
			}
			c.credentials = credentials{key: strings.TrimSpace(key)}
			return c, nil
		}
	}
	c.credentials = credentials{clientID: found.ClientID, clientSecret: found.ClientSecret}
	return c, nil
}
