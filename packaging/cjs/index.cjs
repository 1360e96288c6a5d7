/** The library for `require`: Node loads the modules, which have no top-level await, at once. */
'use strict';
const { attach, diff, mount, mounts, mountTemp, StratafsError, unmount } = require('./index.js');
module.exports = { attach, diff, mount, mounts, mountTemp, StratafsError, unmount };
