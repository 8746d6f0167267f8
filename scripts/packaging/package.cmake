# A Debian package: `cpack -G DEB` in the build tree. agent and agentctl are static, so it depends on
# nothing; agent-lb-aws alone wants libraries.
install(FILES ${CMAKE_SOURCE_DIR}/scripts/packaging/systemd/lastcall.service
    DESTINATION lib/systemd/system)
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION share/doc/lastcall)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lastcall)
set(CPACK_PACKAGE_CONTACT "The Lastcall authors <lastcall@example.org>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "container process supervisor that drains before it stops")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libcurl4, libpugixml1v5, libssl3, libstdc++6")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS systemd)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/scripts/packaging/debian/postinst
    ${CMAKE_SOURCE_DIR}/scripts/packaging/debian/prerm ${CMAKE_SOURCE_DIR}/scripts/packaging/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
