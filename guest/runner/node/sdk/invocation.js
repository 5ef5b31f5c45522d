/** What `remote` comes to in a guest. */
export function invoke(function_) {
  const name = function_.name || "f";
  return Promise.reject(new Error(`\`${name}.remote\` was called inside of a microVM; call \`${name}(…)\` itself here`));
}
