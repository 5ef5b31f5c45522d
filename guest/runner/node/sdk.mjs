// What a declaration finds in a guest: helpers that declare nothing, and wrappers that change
// nothing. The runtime SDK is not here: a guest creates no sandboxes.

const nothing = () => Object.freeze({});

function wrapper() {
  return (called) => {
    const remote = () => {
      throw new Error(`\`${called.name}.remote\` was called in a guest, which starts no other`);
    };
    return Object.assign(called, { local: called, remote });
  };
}

export const app = wrapper;
export const func = wrapper;
export const workload = nothing;
export {
  nothing as debian, nothing as dnsNone, nothing as dnsResolver, nothing as dnsSystem, nothing as egress,
  nothing as entrypoint, nothing as entrypointFunction, nothing as healthCheck, nothing as hook,
  nothing as hostPath, nothing as hostPort, nothing as image, nothing as literal, nothing as localPath,
  nothing as mount, nothing as network, nothing as nixPackages, nothing as noDeps, nothing as nodeDeps,
  nothing as nodeImage, nothing as ociImage, nothing as port, nothing as pythonDeps, nothing as pythonImage,
  nothing as resources, nothing as secret, nothing as tmpfs, nothing as volume, nothing as warmProcess,
  nothing as dns_none, nothing as dns_resolver, nothing as dns_system, nothing as entrypoint_function,
  nothing as health_check, nothing as host_path, nothing as host_port, nothing as local_path,
  nothing as nix_packages, nothing as no_deps, nothing as node_deps, nothing as node_image,
  nothing as oci_image, nothing as python_deps, nothing as python_image, nothing as warm_process,
};
