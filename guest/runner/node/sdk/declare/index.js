/**
 * Declarations: what a source file says of itself, read by `mvmctl compile` from its text. Calling these does
 * nothing: they return values, and a decorated function stays the function it is. The same files are in every
 * guest.
 */
export { app, func, workload } from "./decorators.js";
export { debian, dnsNone, dnsNone as dns_none, dnsResolver, dnsResolver as dns_resolver, dnsSystem, dnsSystem as dns_system, egress, entrypoint, entrypointFunction, entrypointFunction as entrypoint_function, file, healthCheck, healthCheck as health_check, hook, hostPath, hostPath as host_path, hostPort, hostPort as host_port, image, literal, localPath, localPath as local_path, mount, network, nixPackages, nixPackages as nix_packages, noDeps, noDeps as no_deps, nodeDeps, nodeDeps as node_deps, nodeImage, nodeImage as node_image, ociImage, ociImage as oci_image, port, pythonDeps, pythonDeps as python_deps, pythonImage, pythonImage as python_image, resources, restart, secret, tmpfs, volume, warmProcess, warmProcess as warm_process, } from "./helpers.js";
