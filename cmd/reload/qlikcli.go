package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// qlikFlag is a flag of qlik-cli's reload commands that this command does not have.
type qlikFlag struct {
	long, short string
	instead     string
}

// qlikFlags returns these flags. --traffic is one of older versions.
func qlikFlags() []qlikFlag {
	return []qlikFlag{
		{"file", "f", "use --appId, --partial, --weight and --variables; for a file with many reloads, use reload run"},
		{"interval", "", "retries and polls choose their intervals; to wait for a reload, use create --wait or wait ID"},
		{"config", "c", "use --context NAME, or --server and --api-key-file"},
		{"headers", "", "set the credentials with QLIK_API_KEY or --api-key-file; no other header is needed"},
		{"insecure", "", "certificates are always verified; to trust another authority, set SSL_CERT_FILE"},
		{"server-type", "", "leave it out; the server is always Qlik Cloud"},
		{"traffic", "t", "use --verbose, which logs the requests without their bodies"},
	}
}

// flagError returns the message for an invalid flag. It quotes no value that may be a secret.
func flagError(_ *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) && invalid.GetFlag().Name == "variables" {
		return errors.New("--variables must be k=v pairs separated by commas")
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name := unknown.GetSpecifiedName()
	short := unknown.GetSpecifiedShortnames() != ""
	for _, f := range qlikFlags() {
		if !short && name == f.long || short && name == f.short {
			return fmt.Errorf("--%s of qlik-cli is not supported: %s", f.long, f.instead)
		}
	}
	if short {
		return fmt.Errorf("unknown shorthand flag: -%s", name) // pflag would quote what follows, too
	}
	return err
}
