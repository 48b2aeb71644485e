package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tenantContext is the tenant and the credentials in a context of qlik-cli.
type tenantContext struct {
	server string
	credentials
}

// errNoContext means that qlik-cli is not configured, or that none of its contexts is active.
var errNoContext = errors.New("qlik-cli has no active context")

// readContext reads a context of qlik-cli; "" means the active one. It does not modify the file. The file contains keys, so
// the errors do not quote it.
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
		return c, fmt.Errorf("%s: invalid format of qlik-cli contexts", path)
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
		return c, fmt.Errorf("%s: no context %q", path, name)
	case found.ServerType != "" && !strings.EqualFold(found.ServerType, "cloud"):
		return c, fmt.Errorf("context %q: expected server type cloud, got %q", name, found.ServerType)
	case found.Server == "":
		return c, fmt.Errorf("context %q: server is not set", name)
	}
	c.server = found.Server
	for header, value := range found.Headers {
		if strings.EqualFold(header, "Authorization") {
			scheme, key, _ := strings.Cut(strings.TrimSpace(value), " ")
			if !strings.EqualFold(scheme, "Bearer") {
				return c, fmt.Errorf("context %q: expected an Authorization header with scheme Bearer", name)
			}
			c.credentials = credentials{key: strings.TrimSpace(key)}
			return c, nil
		}
	}
	c.credentials = credentials{clientID: found.ClientID, clientSecret: found.ClientSecret}
	return c, nil
}
