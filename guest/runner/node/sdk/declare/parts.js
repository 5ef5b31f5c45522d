import { helper } from "./declared.js";
/** A directory, relative to the declaration's; globs say which files (all), and which of those not (none). */
export const localPath = helper("source", "local_path");
/** A named source: `debian:node`, `oci:HOST/PATH@sha256:…`, `nix:FLAKE#ATTRIBUTE`. */
export const image = helper("image", "image");
/** One of mvm's own images of Debian: `python`, `node`. */
export const debian = helper("image", "debian");
/** An image of a registry, and the digest (`sha256:…`) it must have. */
export const ociImage = helper("image", "oci_image");
/** Python of a version (3.11), with packages of the system; which image that is, the host's catalog says. */
export const pythonImage = helper("image", "python_image");
/** Node.js of a version (18), with packages of the system; which image that is, the host's catalog says. */
export const nodeImage = helper("image", "node_image");
/** Packages of the Nix collection that the host's catalog names. */
export const nixPackages = helper("image", "nix_packages");
/** Python packages of a lockfile whose every entry has a hash. */
export const pythonDeps = helper("dependencies", "python_deps");
/** Node.js packages of a lockfile whose every entry has a hash. */
export const nodeDeps = helper("dependencies", "node_deps");
/** No dependencies. */
export const noDeps = helper("dependencies", "no_deps");
/** Virtual processors, memory and disk, both in MiB by whatever name. */
export const resources = helper("resources", "resources");
/** What may be connected to, and the ports that the host offers. Without either there is no network. */
export const network = helper("network", "network");
/** Exactly these destinations; there are no wildcards. */
export const egress = helper("egress", "egress");
/** A host by its name, a port from 1 to 65,535, and what is spoken there (`tcp`: anything). */
export const hostPort = helper("host port", "host_port");
/** A port of the guest; the host's port (any that is free) and address (127.0.0.1). */
export const port = helper("port", "port");
/** Nobody answers questions for names. */
export const dnsNone = helper("dns", "dns_none");
/** The host answers, for the names that egress grants. */
export const dnsSystem = helper("dns", "dns_system");
/** The host answers by way of this resolver (port 53), for the names that egress grants. */
export const dnsResolver = helper("dns", "dns_resolver");
/** This text. */
export const literal = helper("variable", "literal");
/** A placeholder for a secret of the host's store, which the host sends to these hosts only (`bearer`). */
export const secret = helper("variable", "secret");
/** Storage of the workload: declared where it has a size (MiB), and else named. */
export const volume = helper("mount source", "volume");
/** A directory of the host, by its absolute path. */
export const hostPath = helper("mount source", "host_path");
/** Memory of the guest, at most so many MiB. */
export const tmpfs = helper("mount source", "tmpfs");
/** A volume, by itself or by its name, or another source, at an absolute path of the guest. */
export const mount = helper("mount", "mount");
/** A file at an absolute path of the guest, with its permission bits (0o644). */
export const file = helper("file", "file");
/** A program with its arguments. */
export const entrypoint = helper("entrypoint", "entrypoint");
/** A function of a module that is called with JSON and answers with JSON. */
export const entrypointFunction = helper("entrypoint", "entrypoint_function");
/** How many workers are kept (1), and the calls one answers and the memory (MiB) one uses before it is replaced. */
export const warmProcess = helper("warm process", "warm_process");
/** A line for the shell, or a program with its arguments; ended after so many seconds (60). */
export const hook = helper("hook", "hook");
/** A program that exits with 0 while the app is well, each 30 s, in 5 s; 3 failures in a row are unhealthy. */
export const healthCheck = helper("health check", "health_check");
/** Whether a command that ended is started again. */
export const restart = helper("restart", "restart");
