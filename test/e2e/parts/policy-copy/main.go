// policy-copy copies an image to a folder, as `skopeo copy --policy FILE --registries.d FOLDER docker://IMAGE dir:TO` does:
// by the copy and the policy of containers/image.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/containers/image/v5/copy"
	"github.com/containers/image/v5/directory"
	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
)

func main() {
	policyFile := flag.String("policy", "", "policy.json")
	registriesD := flag.String("registries.d", "", "folder")
	registriesConf := flag.String("registries.conf", "/dev/null", "file")
	all := flag.Bool("all", false, "copy every image of an index")
	flag.Parse()
	if err := run(*policyFile, *registriesD, *registriesConf, *all, flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(policyFile, registriesD, registriesConf string, all bool, image, to string) error {
	policy, err := signature.NewPolicyFromFile(policyFile)
	if err != nil {
		return err
	}
	policyContext, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	defer policyContext.Destroy()
	source, err := docker.ParseReference("//" + image)
	if err != nil {
		return err
	}
	destination, err := directory.NewReference(to)
	if err != nil {
		return err
	}
	system := &types.SystemContext{
		RegistriesDirPath:           registriesD,
		SystemRegistriesConfPath:    registriesConf,
		SystemRegistriesConfDirPath: "/nonexistent",
		DockerInsecureSkipTLSVerify: types.OptionalBoolTrue,
		OSChoice:                    "linux",
		ArchitectureChoice:          "amd64",
	}
	selection := copy.CopySystemImage
	if all {
		selection = copy.CopyAllImages
	}
	_, err = copy.Image(context.Background(), policyContext, destination, source, &copy.Options{
		SourceCtx: system, DestinationCtx: system, ImageListSelection: selection, RemoveSignatures: true,
	})
	return err
}
