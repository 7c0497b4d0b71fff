from casdm import main

main()
